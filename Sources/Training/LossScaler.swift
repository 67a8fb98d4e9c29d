/// The factor of the loss in fp16, whose smallest numbers are 2^-24: it lifts gradients out of there, and is found by
/// trying (Micikevicius et al., arXiv 1710.03740, with the constants of torch.amp.GradScaler). A step whose gradients
/// are not finite is skipped and halves the scale; many finite ones in a row double it.
///
/// A skipped step counts as a step all the same: it has used up its batch, and the learning rate and Adam's corrections
/// of its moments go by the number of steps.
public struct LossScaler: Sendable, Hashable, Codable {
  /// What the loss of the next step is multiplied by: a power of 2, so that dividing by it is exact.
  public private(set) var scale: Double
  /// Finite steps since the scale last changed.
  public private(set) var finiteSteps = 0
  /// Steps of the run that changed nothing, since their gradients were not finite.
  public private(set) var skippedSteps = 0
  /// So many finite steps double the scale.
  public let growthInterval: Int

  public init(scale: Double = 0x1p16, growthInterval: Int = 2000) {
    self.scale = scale
    self.growthInterval = growthInterval
  }

  /// Below 1 it is not the scale that keeps gradients from being finite.
  public var hasCollapsed: Bool { scale < 1 }

  /// What a run can have come to: for values from a file.
  var isPlausible: Bool {
    scale >= 1 && Float(scale).isFinite && growthInterval > 0 && (0..<growthInterval).contains(finiteSteps)
      && skippedSteps >= 0 && skippedSteps < .max
  }

  /// Takes note of a step.
  public mutating func update(isFinite: Bool) {
    if !isFinite {
      scale /= 2
      finiteSteps = 0
      skippedSteps += 1
      return
    }
    finiteSteps += 1
    guard finiteSteps == growthInterval else { return }
    finiteSteps = 0
    if Float(scale * 2).isFinite { scale *= 2 }
  }
}
