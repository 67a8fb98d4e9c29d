import KilnKernels

/// Causal or full attention. Inputs: either q [b, t, heads * d], k and v [b, t, kvHeads * d], or one packed tensor
/// [b, t, (heads + 2 kvHeads) * d]. Outputs: o [b, t, heads * d] and the log-sum-exp [b, heads, t].
public struct Attend: Operation {
  public let heads: Int
  public let kvHeads: Int
  public let causal: Bool
  public let packed: Bool

  public init(heads: Int, kvHeads: Int, causal: Bool = true, packed: Bool) {
    self.heads = heads
    self.kvHeads = kvHeads
    self.causal = causal
    self.packed = packed
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let q = inputs[0]
    let parts = packed ? heads + 2 * kvHeads : heads
    guard q.shape.rank == 3, q.shape.last % parts == 0, heads % kvHeads == 0 else {
      throw KilnError(.shape, "\(q) does not hold \(heads) query and \(kvHeads) key heads")
    }
    let width = q.shape.last / parts
    if !packed {
      for part in inputs.dropFirst()
      where part.shape.rank != 3 || part.shape.last != kvHeads * width || part.shape[0] != q.shape[0] {
        throw KilnError(.shape, "q is \(q), k or v is \(part)")
      }
    }
    return [
      TensorType([q.shape[0], q.shape[1], heads * width], q.dtype),
      TensorType([q.shape[0], heads, q.shape[1]], q.dtype.wide),
    ]
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let d = pull.gradients[0] else { return pull.node.inputs.map { _ in nil } }
    return try pull.graph.record(AttendBackward(forward: self), [d] + pull.node.outputs + pull.node.inputs)
  }

  public func work(for inputs: [TensorType]) -> Work {
    let q = inputs[0].shape
    let keys = packed ? q[1] : inputs[1].shape[1]
    let width = q.last / (packed ? heads + 2 * kvHeads : heads)
    let flops = 4 * q[0] * heads * q[1] * keys * width
    return Work(flops: causal ? flops / 2 : flops, bytes: inputs.reduce(0) { $0 + $1.byteCount } + inputs[0].byteCount)
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

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let (q, k, v) = parts(inputs[...])
    try step.context.attention(outputs[0].split(last: heads), lse: outputs[1], q: q, k: k, v: v, causal: causal)
  }
}

/// Inputs: do, o, lse, then the forward's. Outputs: their gradients.
struct AttendBackward: Operation {
  let forward: Attend

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { Array(inputs.dropFirst(3)) }

  func work(for inputs: [TensorType]) -> Work {
    let once = forward.work(for: Array(inputs.dropFirst(3)))
    return Work(flops: once.flops * 5 / 2, bytes: once.bytes * 2)
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let (q, k, v) = forward.parts(inputs[3...])
    let (dq, dk, dv) = forward.parts(outputs[...])
    try step.context.attentionBackward(
      dq: dq, dk: dk, dv: dv, do: inputs[0].split(last: forward.heads), q: q, k: k, v: v,
      o: inputs[1].split(last: forward.heads), lse: inputs[2], causal: forward.causal)
  }
}
