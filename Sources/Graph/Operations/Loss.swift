import KilnKernels

/// loss = scale * sum of cross-entropies of x w^T against the targets, with both gradients in the same pass, since the
/// logits exist for a block of rows at a time only.
/// Inputs: x [..., c], w [v, c], targets [...] (int32), scale (scalar). Outputs: loss, then dx and dw if trained.
public struct LinearCrossEntropy: Operation {
  public var trainsInput: Bool
  public var trainsWeight: Bool

  public init(trainsInput: Bool, trainsWeight: Bool) {
    self.trainsInput = trainsInput
    self.trainsWeight = trainsWeight
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let x = inputs[0]
    let w = inputs[1]
    let targets = inputs[2]
    guard w.shape.rank == 2, x.shape.last == w.shape[1], targets.shape.count == x.shape.rows, targets.dtype == .int32
    else {
      throw KilnError(.shape, "x is \(x), w is \(w), the targets are \(targets)")
    }
    let dw = TensorType(w.shape, w.dtype.wide)
    return [.scalar(x.dtype.wide)] + (trainsInput ? [x] : []) + (trainsWeight ? [dw] : [])
  }

  public func isGradient(output: Int) -> Bool { output > 0 }

  /// The gradients are there already; they are those of the loss itself.
  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard pull.gradients[0] == pull.graph.unit else {
      throw KilnError(.unsupported, "a fused loss can only be differentiated by itself")
    }
    var rest = pull.node.outputs.dropFirst()
    return [trainsInput ? rest.removeFirst() : nil, trainsWeight ? rest.removeFirst() : nil, nil, nil]
  }

  public func work(for inputs: [TensorType]) -> Work {
    let products = 1 + (trainsInput ? 1 : 0) + (trainsWeight ? 1 : 0)
    let flops = 2 * inputs[0].shape.count * inputs[1].shape[0] * products
    return Work(flops: flops, bytes: (inputs[0].byteCount + inputs[1].byteCount) * products)
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let scale = Float(inputs[3].factor)
    try step.context.linearCrossEntropy(
      outputs[0], dx: trainsInput ? outputs[1].matrix : nil, dw: trainsWeight ? outputs[trainsInput ? 2 : 1] : nil,
      inputs[0].matrix, inputs[1], targets: inputs[2].reshaped([inputs[2].shape.count]), scale: scale)
  }
}

/// loss = scale * sum of cross-entropies of logits against the targets, with their gradient in the same pass.
/// Inputs: logits [..., v], targets [...] (int32), scale (scalar). Outputs: loss, then the gradient if trained.
public struct CrossEntropy: Operation {
  public var trains: Bool

  public init(trains: Bool) { self.trains = trains }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    guard inputs[1].shape.count == inputs[0].shape.rows, inputs[1].dtype == .int32 else {
      throw KilnError(.shape, "the logits are \(inputs[0]), the targets \(inputs[1])")
    }
    return [.scalar(inputs[0].dtype.wide)] + (trains ? [inputs[0]] : [])
  }

  public var sharing: [Sharing] { trains ? [.allowed(1, 0)] : [] }

  public func isGradient(output: Int) -> Bool { output > 0 }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard pull.gradients[0] == pull.graph.unit else {
      throw KilnError(.unsupported, "a fused loss can only be differentiated by itself")
    }
    return [pull.node.outputs[1], nil, nil]
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let scale = Float(inputs[2].factor)
    try step.context.crossEntropy(
      outputs[0], dlogits: trains ? outputs[1].matrix : nil, inputs[0].matrix,
      targets: inputs[1].reshaped([inputs[1].shape.count]), scale: scale)
  }
}

/// The last position of each sequence: [b, t, c] to [b, 1, c].
public struct LastPosition: Operation {
  public init() {}

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [TensorType([inputs[0].shape[0], 1, inputs[0].shape[2]], inputs[0].dtype)]
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let t = inputs[0].shape[1]
    try step.context.copy(outputs[0], inputs[0].slice(1, t - 1..<t))
  }
}
