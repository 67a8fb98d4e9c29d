/// The extents of a tensor, outermost first. `[]` is one element.
public struct Shape: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
  public var extents: [Int]

  public init(_ extents: [Int]) { self.extents = extents }
  public init(arrayLiteral elements: Int...) { extents = elements }

  public var rank: Int { extents.count }
  public subscript(index: Int) -> Int { extents[index] }
  public var last: Int { extents.last ?? 1 }

  /// The number of elements. Extents from outside go through `init(checking:)` first, so that this cannot overflow.
  public var count: Int { extents.reduce(1, *) }

  /// All dimensions but the last as one, and the last: how row-wise kernels see a tensor.
  public var rows: Int { extents.dropLast().reduce(1, *) }

  /// Row-major strides in elements.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for index in extents.indices.dropLast().reversed() { strides[index] = strides[index + 1] * extents[index + 1] }
    return strides
  }

  /// Takes extents that came from outside: refuses negative ones, and products that overflow.
  public init(checking extents: [Int]) throws(KilnError) {
    var product = 1
    for extent in extents {
      guard extent >= 0 else { throw KilnError(.shape, "negative extent \(extent) in shape \(extents)") }
      let (next, overflow) = product.multipliedReportingOverflow(by: max(extent, 1))
      guard !overflow, next < 1 << 56 else { throw KilnError(.shape, "shape \(extents) is too large to address") }
      product = next
    }
    self.extents = extents
  }

  public var description: String { "[" + extents.map(String.init).joined(separator: ", ") + "]" }
}
