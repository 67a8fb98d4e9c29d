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
    for factor in factors { try context.fill(try store.tensor(factor), 1) }
    for (site, parameter) in savedParameters.enumerated() {
      let kept = precision.operand(parameter)
      let tensor = try store.tensor(kept)
      // Of what is narrow or sparse all of it is made in fp32 first: numbers depend on the seed and the place alone.
      let whole = kept.type == TensorType(kept.denseShape) ? tensor : try Tensor(zeros: kept.denseShape)
      switch parameter.start?.value(for: initialValue(of: parameter)) ?? initialValue(of: parameter) {
      case .constant(let value): try context.fill(whole, value)
      case .normal(let std): try context.randomNormal(whole, std: std, key: RandomKey(seed: seed, site: UInt32(site)))
      }
      if whole.storage !== tensor.storage { try kept.fill(tensor, from: whole, context: context) }
    }
  }
}

extension Parameter.Start {
  /// - Parameter usual: what the model has for a parameter of its shape.
  fileprivate func value(for usual: InitialValue) -> InitialValue {
    switch (self, usual) {
    case (.zero, _): .constant(0)
    case (.normal(let std), _): .normal(std: std)
    case (.wider(let factor), .normal(let std)): .normal(std: factor * std)
    case (.wider, .constant): usual
    }
  }
}

extension Parameter {
  /// Fills its tensor from the whole matrix as files have it, of any type.
  public func fill(_ tensor: Tensor, from whole: Tensor, context: Context) throws(KilnError) {
    guard let pattern = type.pattern else { return try context.copy(tensor, whole) }
    var whole = whole
    if whole.dtype != tensor.dtype {
      let converted = try Tensor(zeros: whole.shape, tensor.dtype)
      try context.copy(converted, whole)
      whole = converted
    }
    try context.gather(tensor, from: outputsByInputs(whole), pattern)
  }

  /// A projection's matrix as files have it, seen with a row for each output.
  public func outputsByInputs(_ whole: Tensor) -> Tensor {
    projection?.splitsColumns == true ? whole.transposed : whole
  }
}
