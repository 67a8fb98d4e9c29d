import CKernels

/// A view of elements in a storage: type, shape, strides and where they begin. Copying it copies the view.
///
/// One without a storage describes data that is not there yet, which is all that a query needs.
public struct Tensor: Sendable {
  public let storage: Storage?
  public let byteOffset: Int
  public let dtype: DType
  public let shape: Shape
  public let strides: [Int]

  /// A dense row-major view into `storage`, which must hold all of it.
  public init(_ shape: Shape, _ dtype: DType, in storage: Storage?, at byteOffset: Int = 0) {
    precondition(storage.map { byteOffset >= 0 && byteOffset + shape.count * dtype.size <= $0.byteCount } ?? true)
    self.init(storage: storage, byteOffset: byteOffset, dtype: dtype, shape: shape, strides: shape.strides)
  }

  /// New memory where the kernels of a context work, all zeros.
  /// - Parameter context: nil for the host's memory.
  public init(zeros shape: Shape, _ dtype: DType = .float32, on context: Context? = nil) throws(KilnError) {
    self.init(shape, dtype, in: try Storage(byteCount: shape.count * dtype.size, on: context))
    try storage?.device?.fill(self, 0)
  }

  public init(_ values: [Float], _ shape: Shape) throws(KilnError) {
    try self.init(zeros: shape)
    copy(from: values)
  }

  public init(_ values: [Int32], _ shape: Shape) throws(KilnError) {
    try self.init(zeros: shape, .int32)
    copy(from: values)
  }

  private init(storage: Storage?, byteOffset: Int, dtype: DType, shape: Shape, strides: [Int]) {
    self.storage = storage
    self.byteOffset = byteOffset
    self.dtype = dtype
    self.shape = shape
    self.strides = strides
  }

  public var byteCount: Int { shape.count * dtype.size }
  public var isDense: Bool { strides == shape.strides }

  /// The same elements under another shape of the same count.
  public func reshaped(_ shape: Shape) -> Tensor {
    precondition(isDense && shape.count == self.shape.count, "\(self.shape) cannot be seen as \(shape)")
    return Tensor(storage: storage, byteOffset: byteOffset, dtype: dtype, shape: shape, strides: shape.strides)
  }

  /// All leading dimensions as one: [rows, last].
  public var matrix: Tensor { reshaped([shape.rows, shape.last]) }

  /// The part `range` of one dimension, without copying.
  public func slice(_ dimension: Int, _ range: Range<Int>) -> Tensor {
    precondition(range.lowerBound >= 0 && range.upperBound <= shape[dimension])
    var extents = shape.extents
    extents[dimension] = range.count
    return Tensor(
      storage: storage, byteOffset: byteOffset + range.lowerBound * strides[dimension] * dtype.size, dtype: dtype,
      shape: Shape(extents), strides: strides)
  }

  /// A matrix with rows and columns exchanged, without copying.
  public var transposed: Tensor {
    precondition(shape.rank == 2)
    return Tensor(
      storage: storage, byteOffset: byteOffset, dtype: dtype, shape: [shape[1], shape[0]],
      strides: [strides[1], strides[0]])
  }

  /// The last dimension seen as two: [..., h * d] as [..., h, d]. Works on slices too.
  public func split(last heads: Int) -> Tensor {
    precondition(shape.last % heads == 0)
    let width = shape.last / heads
    return Tensor(
      storage: storage, byteOffset: byteOffset, dtype: dtype, shape: Shape(shape.extents.dropLast() + [heads, width]),
      strides: strides.dropLast() + [width, 1])
  }

  // MARK: Elements, for inputs, scalars and tests

  private func elements<T>(_ type: T.Type) -> UnsafeMutableBufferPointer<T> {
    precondition(isDense && MemoryLayout<T>.size == dtype.size)
    guard let storage else { preconditionFailure("a tensor without data was read") }
    let start = (storage.base + byteOffset).bindMemory(to: T.self, capacity: shape.count)
    return UnsafeMutableBufferPointer(start: start, count: shape.count)
  }

  public func floats() -> [Float] { read() }
  public func doubles() -> [Double] { read() }
  public func integers() -> [Int32] { read() }

  public func copy(from values: [Float]) { write(values) }
  public func copy(from values: [Double]) { write(values) }
  public func copy(from values: [Int32]) { write(values) }
  public func copy(from values: [UInt8]) { write(values) }

  /// Takes the bytes of a dense tensor of the same type and count.
  public func fill(from other: Tensor) {
    precondition(other.dtype == dtype && other.shape.count == shape.count)
    if let device = other.storage?.device, storage?.device == nil {
      return device.read(other, into: elements(bytes: ()))
    }
    other.withBytes { bytes in
      if let device = storage?.device {
        device.write(bytes, to: self)
      } else {
        elements(bytes: ()).copyMemory(from: bytes)
      }
    }
  }

  private func read<T: BitwiseCopyable>() -> [T] {
    guard let device = storage?.device else { return Array(elements(T.self)) }
    precondition(isDense && MemoryLayout<T>.size == dtype.size)
    return [T](unsafeUninitializedCapacity: shape.count) { buffer, count in
      device.read(self, into: UnsafeMutableRawBufferPointer(buffer))
      count = shape.count
    }
  }

  private func write<T: BitwiseCopyable>(_ values: [T]) {
    precondition(values.count == shape.count, "\(values.count) values for shape \(shape)")
    guard let device = storage?.device else {
      _ = elements(T.self).update(fromContentsOf: values)
      return
    }
    precondition(isDense && MemoryLayout<T>.size == dtype.size)
    values.withUnsafeBytes { device.write($0, to: self) }
  }

  /// The one element of a scalar, whichever floating-point type or int32 it has.
  public var scalar: Double {
    get {
      switch dtype {
      case .float32: Double(first(Float.self))
      case .float64: first(Double.self)
      default: Double(first(Int32.self))
      }
    }
    nonmutating set {
      switch dtype {
      case .float32: set(Float(newValue))
      case .float64: set(newValue)
      default: set(Int32(newValue))
      }
    }
  }

  /// A scalar that something is multiplied by; 1 in a query, where nothing has data.
  public var factor: Double { storage == nil ? 1 : scalar }

  // The host's are read where they are, at every step of a plan.

  private func first<T: BitwiseCopyable>(_ type: T.Type) -> T {
    storage?.device == nil ? elements(type)[0] : read()[0]
  }

  private func set<T: BitwiseCopyable>(_ value: T) {
    if storage?.device == nil { elements(T.self)[0] = value } else { write([value]) }
  }

  /// The bytes of a dense tensor, for writing it to a file.
  public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    guard let device = storage?.device else { return try body(UnsafeRawBufferPointer(elements(bytes: ()))) }
    precondition(isDense)
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(byteCount, 1), alignment: 64)
    defer { bytes.deallocate() }
    device.read(self, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<byteCount]))
    return try body(UnsafeRawBufferPointer(rebasing: bytes[..<byteCount]))
  }

  private func elements(bytes: Void) -> UnsafeMutableRawBufferPointer {
    precondition(isDense)
    return UnsafeMutableRawBufferPointer(start: storage.map { $0.base + byteOffset }, count: byteCount)
  }

  /// How the C library sees it.
  var view: kiln_tensor {
    var tensor = kiln_tensor()
    tensor.data = storage?.base
    tensor.offset = Int64(byteOffset)
    tensor.dtype = dtype.code
    tensor.rank = Int32(shape.rank)
    withUnsafeMutableBytes(of: &tensor.shape) { raw in
      for (index, extent) in shape.extents.enumerated() {
        raw.storeBytes(of: Int64(extent), toByteOffset: index * 8, as: Int64.self)
      }
    }
    withUnsafeMutableBytes(of: &tensor.strides) { raw in
      for (index, stride) in strides.enumerated() {
        raw.storeBytes(of: Int64(stride), toByteOffset: index * 8, as: Int64.self)
      }
    }
    return tensor
  }
}
