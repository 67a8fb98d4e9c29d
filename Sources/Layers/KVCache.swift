import KilnGraph
import KilnKernels

/// Keys and values of the positions so far, for generating one token after another: a capacity, and a count as data.
public struct KVCache {
  public let capacity: Int
  /// How many positions the caches hold before this step: int32 scalar.
  public let position: Value
  private let width: Int

  public init(capacity: Int, width: Int, in graph: Graph) {
    self.capacity = capacity
    self.width = width
    position = graph.input("position", .scalar(.int32))
  }

  /// Appends the new keys and values of one layer and attends to all of them.
  /// - Parameters:
  ///   - queries: [b, t, heads * d], or a packed tensor that begins with it.
  ///   - keys: the tensor that holds the new keys, and which part of its last dimension they are; values likewise.
  func attend(
    layer: Int, heads: Int, kvHeads: Int, queries: Value, keys: (Value, Range<Int>?), values: (Value, Range<Int>?)
  ) throws(KilnError) -> Value {
    let graph = queries.graph
    let shape: Shape = [queries.shape[0], capacity, width]
    let keyCache = graph[Parameter("cache.\(layer).keys", shape, queries.type.dtype, role: .cache)]
    let valueCache = graph[Parameter("cache.\(layer).values", shape, queries.type.dtype, role: .cache)]
    try graph.record(CacheAppend(part: keys.1), [keyCache, keys.0, position])
    try graph.record(CacheAppend(part: values.1), [valueCache, values.0, position])
    return try graph.record(AttendCached(heads: heads, kvHeads: kvHeads), [queries, keyCache, valueCache, position])[0]
  }
}
