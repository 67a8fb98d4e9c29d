import KilnKernels

/// y = activation(x w + bias) + residual, over the last dimension of x [..., k].
/// Inputs: x, w, then bias and residual where present; where the product is narrow, codes and scales of x and of w.
/// Outputs: y [..., n], then the pre-activation where kept.
public struct Project: Operation {
  /// The weight is [n, k], as torch's Linear stores it; otherwise [k, n], as GPT-2's Conv1D does.
  public var transposedWeight: Bool
  public var hasBias = false
  public var activation: Activation?
  public var hasResidual = false
  /// Training keeps the pre-activation, from which the backward has both the activation and its slope.
  public var keepsPreactivation = false

  /// The type of y, where it is not that of x.
  public var outputType: DType?

  /// The products take numbers of 8 bits in place of x, w and dy.
  public private(set) var narrow: NarrowProducts?

  /// The weight is sparse: [n, k], whatever `transposedWeight` says of dense ones.
  private var pattern: SparsePattern?

  public init(transposedWeight: Bool) { self.transposedWeight = transposedWeight }

  private var residualIndex: Int { hasBias ? 3 : 2 }
  private var narrowIndex: Int { residualIndex + (hasResidual ? 1 : 0) }

  /// Records the projection with its products in 8 bits, or as they are. A sparse weight is multiplied as it is where that
  /// is faster than to make it dense first.
  public func record(
    in graph: Graph, _ inputs: [Value], narrow: NarrowProducts?
  ) throws(KilnError) -> Value {
    var (projection, inputs) = (self, inputs)
    if let pattern = inputs[1].type.pattern {
      projection.transposedWeight = true
      if let active = pattern.active { inputs[1] = try graph.record(Restrict(pattern, to: active), [inputs[1]])[0] }
      if narrow == nil, (pattern.active ?? pattern).isFast, !graph.densifies {
        projection.pattern = pattern.active ?? pattern
      } else {
        inputs[1] = try graph.dense(inputs[1])
      }
    }
    guard let narrow else { return try graph.record(projection, inputs)[0] }
    projection.narrow = narrow
    func history(_ operand: String) -> String? { projection.history(of: operand, weight: inputs[1]) }
    let x = try graph.quantize(inputs[0], narrow.input, history: history("input"))
    let w = try graph.quantize(inputs[1], narrow.weight, isCheap: true, history: history("weight"))
    return try graph.record(projection, inputs + [x.value, x.scales, w.value, w.scales].compactMap { $0 })[0]
  }

  /// The name of what delayed scaling remembers of an operand.
  private func history(of operand: String, weight: Value) -> String? {
    guard narrow == .float8(isDelayed: true), let parameter = weight.graph.parameter(behind: weight) else { return nil }
    return "\(operand).\(parameter.name)"
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let x = inputs[0]
    let w = inputs[1]
    let shape: Shape = pattern.map { [$0.rows, $0.columns] } ?? w.shape
    guard shape.rank == 2, x.shape.rank >= 1, x.shape.last == shape[transposedWeight ? 1 : 0], w.dtype == x.dtype
    else {
      throw KilnError(.shape, "inner dimensions differ: x is \(x), the weight is \(w)")
    }
    let n = shape[transposedWeight ? 0 : 1]
    let y = TensorType(Shape(x.shape.extents.dropLast() + [n]), outputType ?? x.dtype)
    if hasBias, inputs[2].shape != [n] { throw KilnError(.shape, "the bias is \(inputs[2]), not [\(n)]") }
    if hasResidual, inputs[residualIndex] != y {
      throw KilnError(.shape, "the residual is \(inputs[residualIndex]), the product \(y)")
    }
    return keepsPreactivation ? [y, y] : [y]
  }

  public var sharing: [Sharing] { hasResidual ? [.allowed(0, residualIndex)] : [] }

  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    guard output == 0, let activation, keepsPreactivation, !hasResidual else { return nil }
    return (Activate(activation), [node.outputs[1]], 0)
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let dy = pull.gradients[0] else { return pull.node.inputs.map { _ in nil } }
    let graph = pull.graph
    let inputs = pull.node.inputs
    var d = dy
    if let activation {
      precondition(keepsPreactivation, "a projection with an activation was recorded for inference")
      d = try graph.activationBackward(activation, dy, at: pull.node.outputs[1])
    }
    var gradients = [Value?](repeating: nil, count: inputs.count)
    let narrowD = try narrow.map { (narrow) throws(KilnError) in
      try graph.quantize(d, narrow.gradient, history: history(of: "gradient", weight: inputs[1]))
    }
    if pull.needs(1), let pattern {
      let product = SparseWeightGradient(pattern.whole ?? pattern, accumulates: pull.gradientExists(1))
      gradients[1] = try graph.record(
        product, [d, pull.saved(inputs[0])] + [pull.absorb(1)].compactMap { $0 })[0]
    } else if pull.needs(1) {
      var product = MatMul(
        TensorType(inputs[1].shape, inputs[0].type.dtype.wide), transposeA: true, accumulates: pull.gradientExists(1))
      let (dy, x) = try weightGradientOperands(pull, d, narrowD)
      let both =
        dy.scales == nil && hasBias && pull.needs(2) && pull.gradientExists(1) == pull.gradientExists(2)
      if both { product.biasOperand = transposedWeight ? 0 : 1 }
      let existing = (both ? [1, 2] : [1]).map { pull.absorb($0) }
      let (a, b) = transposedWeight ? (dy, x) : (x, dy)
      let results = try product.record(in: graph, a, b, addedTo: existing)
      for (index, gradient) in results.enumerated() { gradients[index + 1] = gradient }
    }
    if hasBias, pull.needs(2), gradients[2] == nil {
      let sum = BiasBackward(accumulates: pull.gradientExists(2))
      gradients[2] = try graph.record(sum, [d] + [pull.absorb(2)].compactMap { $0 })[0]
    }
    if pull.needs(0) {
      var product = MatMul(inputs[0].type, transposeB: !transposedWeight, accumulates: pull.gradientExists(0))
      product.pattern = pattern
      let w = try narrowD == nil ? ProductOperand(pull.saved(inputs[1])) : narrowWeight(pull)
      gradients[0] = try product.record(in: graph, narrowD ?? ProductOperand(d), w, addedTo: [pull.absorb(0)])[0]
    }
    if hasResidual { gradients[residualIndex] = dy }
    return gradients
  }

  private func narrowWeight(_ pull: Pullback) throws(KilnError) -> ProductOperand {
    let (codes, scales) = (pull.node.inputs[narrowIndex + 2], pull.node.inputs[narrowIndex + 3])
    return ProductOperand(try pull.saved(codes), scales: scales)
  }

  /// dy and x as the gradient of the weight takes them.
  private func weightGradientOperands(
    _ pull: Pullback, _ d: Value, _ narrowD: ProductOperand?
  ) throws(KilnError) -> (dy: ProductOperand, x: ProductOperand) {
    let inputs = pull.node.inputs
    if let narrow, narrow.isFloat8, let narrowD {
      return (narrowD, ProductOperand(inputs[narrowIndex], scales: inputs[narrowIndex + 1]))
    }
    let x = try pull.saved(inputs[0])
    guard narrow == .int8(weightGradients: true) else { return (ProductOperand(d), ProductOperand(x)) }
    return (try pull.graph.quantize(d, .int8ByColumn), try pull.graph.quantize(x, .int8ByColumn))
  }

  public func work(for inputs: [TensorType]) -> Work {
    let m = inputs[0].shape.rows
    let results = (try? outputs(for: inputs)) ?? []
    return Work(flops: 2 * m * inputs[1].shape.count, bytes: (inputs + results).reduce(0) { $0 + $1.byteCount })
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    var options = Context.GemmOptions()
    options.transposeB = transposedWeight
    options.activation = activation
    options.bias = hasBias ? inputs[2] : nil
    options.residual = hasResidual ? inputs[residualIndex].matrix : nil
    options.patternOfB = pattern
    options.preactivation = keepsPreactivation ? outputs[1].matrix : nil
    if narrow != nil {
      (options.scalesOfA, options.scalesOfB) = (inputs[narrowIndex + 1], inputs[narrowIndex + 3])
    }
    let (x, w) = narrow == nil ? (inputs[0], inputs[1]) : (inputs[narrowIndex], inputs[narrowIndex + 2])
    try step.context.gemm(outputs[0].matrix, x.matrix, w, options)
  }
}

/// c = a b (or c + a b) of matrices, leading dimensions folded, with the epilogues that gradients have; the output has
/// the given type.
/// Inputs: a, b; the scales of both where they have 8 bits; where it accumulates, what c and then the bias's gradient are
/// added to; the pre-activation.
struct MatMul: Operation {
  var type: TensorType
  var transposeA = false
  var transposeB = false
  var accumulates = false
  /// The operand, a (0) or b (1), whose sums over k are the second output: the gradient of a bias.
  var biasOperand: Int?
  /// The product is multiplied by the slope of this function at the pre-activation.
  var activation: Activation?
  var isNarrow = false
  /// Of b, where it is sparse.
  var pattern: SparsePattern?

  private var operands: Int { isNarrow ? 4 : 2 }

  init(_ type: TensorType, transposeA: Bool = false, transposeB: Bool = false, accumulates: Bool) {
    self.type = type
    self.transposeA = transposeA
    self.transposeB = transposeB
    self.accumulates = accumulates
  }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    guard let biasOperand else { return [type] }
    return [type, TensorType([type.shape[biasOperand]], inputs[biasOperand].dtype.wide)]
  }

  var sharing: [Sharing] {
    let first = operands
    let sums =
      accumulates ? [Sharing.continues(0, first)] + (biasOperand == nil ? [] : [.continues(1, first + 1)]) : []
    return activation == nil ? sums : sums + [.allowed(0, first)]
  }

  func work(for inputs: [TensorType]) -> Work {
    let k = transposeA ? inputs[0].shape.rows : inputs[0].shape.last
    let flops = pattern == nil ? 2 * type.shape.count * k : 2 * inputs[0].shape.rows * inputs[1].shape.count
    return Work(flops: flops, bytes: inputs[0].byteCount + inputs[1].byteCount + type.byteCount)
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    var options = Context.GemmOptions()
    options.transposeA = transposeA
    options.transposeB = transposeB
    options.accumulate = accumulates
    options.biasGradient = biasOperand == nil ? nil : outputs[1]
    options.biasGradientOfB = biasOperand == 1
    options.activation = activation
    options.gradientAt = activation == nil ? nil : inputs[operands].matrix
    options.patternOfB = pattern
    if isNarrow { (options.scalesOfA, options.scalesOfB) = (inputs[2], inputs[3]) }
    try step.context.gemm(outputs[0].matrix, inputs[0].matrix, inputs[1].matrix, options)
  }
}

extension MatMul {
  /// Records the product, added to what is there of `existing`.
  func record(
    in graph: Graph, _ a: ProductOperand, _ b: ProductOperand, addedTo existing: [Value?]
  ) throws(KilnError) -> [Value] {
    var product = self
    product.isNarrow = a.scales != nil
    return try graph.record(product, ([a.value, b.value, a.scales, b.scales] + existing).compactMap { $0 })
  }
}

extension Graph {
  /// dy * activation'(x). Where dy is a product to which nothing was added, that product is recorded once more to end with
  /// it: nothing uses the first one then, so it is never run.
  func activationBackward(_ activation: Activation, _ dy: Value, at x: Value) throws(KilnError) -> Value {
    guard let node = node(of: dy), var product = node.operation as? MatMul,
      !product.accumulates, product.activation == nil
    else { return try record(ActivateBackward(activation), [dy, x])[0] }
    product.activation = activation
    return try record(product, node.inputs + [x])[0]
  }
}

/// dbias = sum over rows of dy.
struct BiasBackward: Operation {
  var accumulates = false

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [TensorType([inputs[0].shape.last], inputs[0].dtype.wide)]
  }

  var sharing: [Sharing] { accumulates ? [.continues(0, 1)] : [] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.biasBackward(outputs[0], inputs[0], accumulate: accumulates)
  }
}
