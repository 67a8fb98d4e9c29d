import KilnKernels

/// Causal or full attention. Inputs: either q [b, t, heads * d], k and v [b, t, kvHeads * d], or one packed tensor
/// [b, t, (heads + 2 kvHeads) * d]; then, if there are several sequences in a row, their offsets [b, sequences + 1]
/// (int32; see `kiln_attention_options`). Outputs: o [b, t, heads * d] and the log-sum-exp [b, heads, t].
public struct Attend: Operation {
  public let heads: Int
  public let kvHeads: Int
  public let causal: Bool
  /// How many keys, up to its own place, a query sees; 0 for all.
  public let window: Int
  public let packed: Bool

  public init(heads: Int, kvHeads: Int, causal: Bool = true, window: Int = 0, packed: Bool) {
    self.heads = heads
    self.kvHeads = kvHeads
    self.causal = causal
    self.window = window
    self.packed = packed
  }

  /// Inputs that hold q, k and v; one more is offsets.
  var operands: Int { packed ? 1 : 3 }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let q = inputs[0]
    let parts = packed ? heads + 2 * kvHeads : heads
    guard q.shape.rank == 3, q.shape.last % parts == 0, heads % kvHeads == 0 else {
      throw KilnError(.shape, "\(q) does not hold \(heads) query and \(kvHeads) key heads")
    }
    let width = q.shape.last / parts
    if !packed {
      for part in inputs[1..<3]
      where part.shape.rank != 3 || part.shape.last != kvHeads * width || part.shape[0] != q.shape[0] {
        throw KilnError(.shape, "q is \(q), k or v is \(part)")
      }
    }
    for offsets in inputs.dropFirst(operands)
    where offsets.dtype != .int32 || offsets.shape.rank != 2 || offsets.shape[0] != q.shape[0] {
      throw KilnError(.shape, "offsets are \(offsets), not int32[\(q.shape[0]), sequences + 1]")
    }
    return [
      TensorType([q.shape[0], q.shape[1], heads * width], q.dtype),
      TensorType([q.shape[0], heads, q.shape[1]], q.dtype.wide),
    ]
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let d = pull.gradients[0] else { return pull.node.inputs.map { _ in nil } }
    let gradients = try pull.graph.record(AttendBackward(forward: self), [d] + pull.node.outputs + pull.node.inputs)
    return gradients + pull.node.inputs.dropFirst(operands).map { _ in nil }
  }

  public func work(for inputs: [TensorType]) -> Work {
    let q = inputs[0].shape
    let keys = packed ? q[1] : inputs[1].shape[1]
    let width = q.last / (packed ? heads + 2 * kvHeads : heads)
    let all = causal ? q[1] * keys / 2 : q[1] * keys
    let pairs = window > 0 ? min(q[1] * window, all) : all
    return Work(
      flops: 4 * q[0] * heads * pairs * width, bytes: inputs.reduce(0) { $0 + $1.byteCount } + inputs[0].byteCount)
  }

  /// q, k and v as [b, t, heads, d].
  func parts(_ tensors: ArraySlice<Tensor>) -> (q: Tensor, k: Tensor, v: Tensor) {
    let first = tensors[tensors.startIndex]
    guard packed else {
      return (
        first.split(last: heads), tensors[tensors.startIndex + 1].split(last: kvHeads),
        tensors[tensors.startIndex + 2].split(last: kvHeads)
      )
    }
    let all = first.split(last: heads + 2 * kvHeads)
    return (
      all.slice(2, 0..<heads), all.slice(2, heads..<heads + kvHeads),
      all.slice(2, heads + kvHeads..<heads + 2 * kvHeads)
    )
  }

  /// The offsets among the forward's inputs.
  func offsets(_ inputs: ArraySlice<Tensor>) -> Tensor? { inputs.dropFirst(operands).first }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let (q, k, v) = parts(inputs[...])
    try step.context.attention(
      outputs[0].split(last: heads), lse: outputs[1], q: q, k: k, v: v, causal: causal, window: window,
      offsets: offsets(inputs[...]))
  }
}

/// Inputs: do, o, lse, then the forward's. Outputs: the gradients of those that hold q, k and v.
struct AttendBackward: Operation {
  let forward: Attend

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    Array(inputs[3...].prefix(forward.operands))
  }

  func work(for inputs: [TensorType]) -> Work {
    let once = forward.work(for: Array(inputs.dropFirst(3)))
    return Work(flops: once.flops * 5 / 2, bytes: once.bytes * 2)
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let (q, k, v) = forward.parts(inputs[3...])
    let (dq, dk, dv) = forward.parts(outputs[...])
    try step.context.attentionBackward(
      dq: dq, dk: dk, dv: dv, do: inputs[0].split(last: forward.heads), q: q, k: k, v: v,
      o: inputs[1].split(last: forward.heads), lse: inputs[2], causal: forward.causal, window: forward.window,
      offsets: forward.offsets(inputs[3...]))
  }
}
