import KilnGraph
import KilnKernels

/// What an update adds to, where products take weights of 16 bits.
public enum MasterWeights: String, Sendable, Hashable, Codable, CaseIterable {
  /// Weights in fp32, rounded where they are used (Micikevicius et al., arXiv 1710.03740).
  case fp32
  /// The weights of 16 bits themselves. Most updates are smaller than their last place: they are rounded
  /// stochastically, so that the weights are right on average.
  case none
  /// The same, beside a second tensor of 16 bits with what rounding has left out (Kahan's compensated sum).
  case kahan
}

/// An optimizer whose weights are kept in bf16 alone.
public struct WithoutMasters: Optimizer {
  private let base: any Optimizer
  private let compensates: Bool

  /// - Parameter compensates: keeps what rounding leaves out; else updates are rounded stochastically.
  public init(_ base: any Optimizer, compensates: Bool) {
    self.base = base
    self.compensates = compensates
  }

  public func states(of weight: Parameter) -> [Parameter] {
    base.states(of: weight) + (hasRemainder(weight) ? [remainder(of: weight)] : [])
  }

  /// Vectors stay in fp32.
  private func hasRemainder(_ weight: Parameter) -> Bool { compensates && weight.type.dtype == .bfloat16 }

  private func remainder(of weight: Parameter) -> Parameter {
    Parameter("optimizer.remainder.\(weight.name)", weight.shape, .bfloat16, role: .state)
  }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    guard hasRemainder(w.parameter) else { return try base.update(w) }
    var (states, options) = (w.states, w.options)
    options.remainder = states.removeLast()
    try base.update(
      WeightUpdate(
        context: w.context, parameter: w.parameter, weight: w.weight, gradient: w.gradient, states: states,
        options: options))
  }

  public var weightDecay: Double { base.weightDecay }
  public var format: StateFormat { base.format }
  public var name: String { base.name }
  public var summary: String { base.summary }
}
