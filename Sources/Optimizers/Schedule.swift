import Foundation
import KilnKernels

/// How a learning rate that suits one batch is made to suit another.
public enum LearningRateScaling: String, Sendable, Hashable, Codable, CaseIterable {
  case none
  /// In proportion (Goyal et al., arXiv 1706.02677): for SGD.
  case linear
  /// By the square root: for methods whose steps do not grow with the gradient, such as Adam and LAMB.
  case sqrt

  public func factor(batch: Int, base: Int) -> Double {
    let ratio = Double(batch) / Double(base)
    return switch self {
    case .none: 1
    case .linear: ratio
    case .sqrt: ratio.squareRoot()
    }
  }
}

/// The learning rate over a run: a linear warm-up to the peak, then a decay.
public struct Schedule: Sendable, Hashable, Codable {
  public enum Shape: String, Sendable, Hashable, Codable, CaseIterable {
    case constant
    /// floor + (1 - floor) (1 + cos(pi u)) / 2, u from 0 to 1 over the steps after the warm-up.
    case cosine
    /// 1 to the floor in a straight line.
    case linear
    /// Warm-up, stable, decay: constant, then linear over the last fifth of the steps.
    case wsd
  }

  public var shape: Shape
  public var peak: Double
  public var warmup: Int
  public var steps: Int
  /// What the decay ends at, as a fraction of the peak.
  public var floor: Double

  public init(_ shape: Shape, peak: Double, warmup: Int, steps: Int, floor: Double = 0) throws(KilnError) {
    guard peak.isFinite, peak >= 0 else { throw KilnError(.argument, "learning rate \(peak) is not a number >= 0") }
    guard warmup >= 0 else { throw KilnError(.argument, "\(warmup) steps of warm-up") }
    self.shape = shape
    self.peak = peak
    self.warmup = warmup
    self.steps = steps
    self.floor = floor
  }

  /// The rate of a step, counted from 0; one that loss scaling skipped counts as well. Warm-up is
  /// peak (step + 1) / warmup, so that the first step already learns.
  public func rate(at step: Int) -> Double {
    if step < warmup { return peak * Double(step + 1) / Double(warmup) }
    let decaySteps = shape == .wsd ? max(steps / 5, 1) : steps - warmup
    let begun = step - (steps - decaySteps)
    guard shape != .constant, decaySteps > 0, begun > 0 else { return peak }
    let progress = min(Double(begun) / Double(decaySteps), 1)
    let remaining = shape == .cosine ? (1 + cos(.pi * progress)) / 2 : 1 - progress
    return peak * (floor + (1 - floor) * remaining)
  }
}
