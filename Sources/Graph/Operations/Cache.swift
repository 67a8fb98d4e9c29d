import KilnKernels

/// Writes keys or values of new positions into a cache with room for more. Inputs: the cache [b, capacity, c], new rows
/// [b, t, c] (or a packed tensor of which a part is taken), and the number of positions it holds (int32 scalar).
public struct CacheAppend: Operation {
  /// The part of the last dimension that is appended; nil for all of it.
  let part: Range<Int>?

  public init(part: Range<Int>? = nil) { self.part = part }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let width = part?.count ?? inputs[1].shape.last
    guard inputs[0].shape.last == width, inputs[1].shape[1] <= inputs[0].shape[1] else {
      throw KilnError(.shape, "the cache is \(inputs[0]), the new rows are \(inputs[1])")
    }
    return []
  }

  public var mutated: [Int] { [0] }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    guard inputs[2].storage != nil else { return }
    let used = Int(inputs[2].scalar)
    let new = inputs[1].shape[1]
    let capacity = inputs[0].shape[1]
    guard used >= 0, used + new <= capacity else {
      throw KilnError(.argument, "\(used + new) positions do not fit a cache of \(capacity)")
    }
    let rows = part.map { inputs[1].slice(2, $0) } ?? inputs[1]
    try step.context.copy(inputs[0].slice(1, used..<used + new), rows)
  }
}

/// Attention of new positions to all that the caches hold. Inputs: q [b, t, heads * d] (or a packed tensor that starts
/// with it), the caches of keys and values, and the number of positions before these. Output: o [b, t, heads * d].
public struct AttendCached: Operation {
  let heads: Int
  let kvHeads: Int
  /// How many keys, up to its own place, a query sees; 0 for all.
  let window: Int

  public init(heads: Int, kvHeads: Int, window: Int = 0) {
    self.heads = heads
    self.kvHeads = kvHeads
    self.window = window
  }

  private func width(_ keys: Shape) -> Int { keys.last / kvHeads }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let q = inputs[0].shape
    return [TensorType([q[0], q[1], heads * width(inputs[1].shape)], inputs[0].dtype)]
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let capacity = inputs[1].shape[1]
    let new = inputs[0].shape[1]
    let total = inputs[3].storage == nil ? capacity : Int(inputs[3].scalar) + new
    let q = inputs[0].slice(2, 0..<heads * width(inputs[1].shape)).split(last: heads)
    let k = inputs[1].slice(1, 0..<total).split(last: kvHeads)
    let v = inputs[2].slice(1, 0..<total).split(last: kvHeads)
    try step.context.attention(
      outputs[0].split(last: heads), lse: nil, q: q, k: k, v: v, causal: true, window: window)
  }
}
