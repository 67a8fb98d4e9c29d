// Tensors as files know them: a name, a type, a shape, and bytes.

import KilnKernels

/// What a file says of a tensor, apart from its bytes.
public struct TensorDescription: Sendable, Hashable {
  public var name: String
  public var type: StorageType
  public var shape: Shape

  public init(name: String, type: StorageType, shape: Shape) {
    self.name = name
    self.type = type
    self.shape = shape
  }

  /// The bytes that the tensor's elements take, row-major; an error if they cannot be counted or end within a byte.
  public func byteCount() throws(KilnError) -> Int {
    let elements = try Shape(checking: shape.extents).count
    let (bits, overflow) = elements.multipliedReportingOverflow(by: type.bits)
    guard !overflow, bits % 8 == 0 else {
      throw KilnError(.format, "tensor '\(name)': shape \(shape) of \(type.rawValue) is not a whole number of bytes")
    }
    return bits / 8
  }
}

/// A tensor in a mapped file.
public struct StoredTensor: Sendable {
  public let description: TensorDescription
  public let file: MappedFile
  /// Where its bytes lie in the file.
  public let range: Range<Int>

  public var name: String { description.name }
  public var type: StorageType { description.type }
  public var shape: Shape { description.shape }

  /// Lends `body` the elements: row-major, little endian, not necessarily aligned.
  public func withBytes<Result, Failure: Error>(
    _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try file.withBytes(in: range, body)
  }

  /// Gives back the memory that its bytes take in this process, once they have been copied.
  public func release() { file.release(range) }
}
