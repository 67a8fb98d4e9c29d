import KilnKernels

/// Layer or RMS normalisation over the last dimension. Inputs: x, gain, and for layer norm bias.
public struct Normalize: Operation {
  public enum Kind: Sendable { case layer, rms }
  let kind: Kind
  let eps: Float

  public init(_ kind: Kind, eps: Float) {
    self.kind = kind
    self.eps = eps
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    for vector in inputs.dropFirst() where vector.shape != [inputs[0].shape.last] {
      throw KilnError(.shape, "x is \(inputs[0]), its gain or bias \(vector)")
    }
    return [inputs[0]]
  }

  public var sharing: [Sharing] { [.allowed(0, 0)] }

  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    let inputs = pull.node.inputs
    guard let dy = pull.gradients[0] else { return inputs.map { _ in nil } }
    let wantsInput = pull.needs(0)
    // The kernel accumulates into the gain's and the bias's gradient together.
    let parameters = inputs.indices.dropFirst().filter(pull.needs)
    let accumulatesParameters = !parameters.isEmpty && parameters.allSatisfy(pull.gradientExists)
    let backward = NormalizeBackward(
      kind: kind, eps: eps, wantsInput: wantsInput, parameters: parameters,
      accumulatesInput: wantsInput && pull.gradientExists(0), accumulatesParameters: accumulatesParameters)
    var operands = [dy, inputs[0], inputs[1]]
    if backward.accumulatesInput, let existing = pull.absorb(0) { operands.append(existing) }
    if accumulatesParameters { operands += parameters.compactMap(pull.absorb) }
    var results = try pull.graph.record(backward, operands)[...]
    var gradients = [Value?](repeating: nil, count: inputs.count)
    if wantsInput { gradients[0] = results.removeFirst() }
    for index in parameters { gradients[index] = results.removeFirst() }
    return gradients
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    switch kind {
    case .layer: try step.context.layerNorm(outputs[0], inputs[0], gain: inputs[1], bias: inputs[2], eps: eps)
    case .rms: try step.context.rmsNorm(outputs[0], inputs[0], gain: inputs[1], eps: eps)
    }
  }
}

/// Inputs: dy, x, gain, then what is accumulated into. Outputs: dx if wanted, then the gradients of `parameters`
/// (1 the gain, 2 the bias).
struct NormalizeBackward: Operation {
  let kind: Normalize.Kind
  let eps: Float
  let wantsInput: Bool
  let parameters: [Int]
  let accumulatesInput: Bool
  let accumulatesParameters: Bool

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    (wantsInput ? [inputs[1]] : []) + parameters.map { _ in inputs[2] }
  }

  var sharing: [Sharing] {
    let first = wantsInput ? 1 : 0
    var result = accumulatesInput ? [Sharing.continues(0, 3)] : wantsInput ? [.allowed(0, 0)] : []
    guard accumulatesParameters else { return result }
    for index in parameters.indices { result.append(.continues(first + index, 3 + (accumulatesInput ? 1 : 0) + index)) }
    return result
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let first = wantsInput ? 1 : 0
    func gradient(_ parameter: Int) -> Tensor? { parameters.firstIndex(of: parameter).map { outputs[first + $0] } }
    let dx = wantsInput ? outputs[0] : nil
    switch kind {
    case .layer:
      try step.context.layerNormBackward(
        dx: dx, dgain: gradient(1), dbias: gradient(2), inputs[0], inputs[1], gain: inputs[2], eps: eps,
        accumulateInput: accumulatesInput, accumulateParameters: accumulatesParameters)
    case .rms:
      try step.context.rmsNormBackward(
        dx: dx, dgain: gradient(1), inputs[0], inputs[1], gain: inputs[2], eps: eps,
        accumulateInput: accumulatesInput, accumulateParameters: accumulatesParameters)
    }
  }
}
