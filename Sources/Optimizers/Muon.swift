import KilnGraph
import KilnKernels

/// Muon (Jordan et al. 2024): the momentum of each projection, made orthogonal, with updates of about the size of Adam's
/// (Liu et al., arXiv 2502.16982). Tables, the head, biases and gains follow AdamW with the same learning rate.
public struct Muon: Optimizer {
  public var momentum: Double
  public var weightDecay: Double
  public var format: StateFormat
  private let other: Adam

  public init(
    momentum: Double = 0.95, weightDecay: Double = 0.1, betas: (Double, Double) = (0.9, 0.95), eps: Double = 1e-8,
    format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(momentum: momentum)
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.format = format
    other = try Adam(betas: betas, eps: eps, weightDecay: weightDecay, decoupled: true, format: format)
  }

  public func states(of weight: Parameter) -> [Parameter] {
    weight.projection == nil ? other.states(of: weight) : format.tensors("momentum", of: weight)
  }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    guard let projection = w.parameter.projection else { return try other.update(w) }
    try w.context.muon(
      w.weight, m: w.state(0), w.gradient, momentum: momentum, parts: projection.parts,
      splitsColumns: projection.splitsColumns, w.options)
  }

  public var summary: String { "momentum \(momentum), weight decay \(weightDecay); elsewhere AdamW, \(other.summary)" }
}
