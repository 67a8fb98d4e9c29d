import KilnGraph
import KilnKernels

/// What a parameter starts as.
public enum InitialValue: Sendable, Hashable {
  case constant(Double)
  case normal(std: Double)
}

extension LanguageModel {
  /// Gives every parameter its initial value: a function of the seed and the parameter's place in the model.
  /// - Parameter precision: what matrices are kept in.
  public func initialize(
    _ store: ParameterStore, seed: UInt64, precision: Precision = .fp32, context: Context
  ) throws(KilnError) {
    for (site, parameter) in parameters.enumerated() {
      let tensor = try store.tensor(parameter)
      switch initialValue(of: parameter) {
      case .constant(let value): try context.fill(tensor, value)
      case .normal(let std): try context.randomNormal(tensor, std: std, key: RandomKey(seed: seed, site: UInt32(site)))
      }
      let kept = precision.operand(parameter)
      guard kept != parameter else { continue }
      try context.copy(try store.tensor(kept), tensor)
      store.remove(parameter)
    }
  }
}
