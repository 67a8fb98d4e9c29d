import CKernels
import Foundation

/// How a test tensor lies in memory.
public enum Layout: String, CaseIterable, Sendable {
  /// Row-major without gaps, 64-byte aligned.
  case dense
  /// Row-major without gaps, one element past the alignment.
  case misaligned
  /// Rows (the last dimension) with a gap between them, one element past the alignment.
  case strided
}

/// Memory for one tensor with guard elements around and between its rows, so that a kernel that writes where it should
/// not is caught.
public final class TestTensor {
  public let shape: [Int]
  public let dtype: kiln_dtype
  private let rows: Int
  private let pitch: Int  // elements from row to row
  private let start: Int  // elements before row 0
  private let memory: UnsafeMutableRawPointer
  private let capacity: Int

  private static let guardValue = -7.0e30
  private static let integerGuard: Int32 = -77
  private static let narrowGuard: UInt16 = 0xf2b1

  public init(_ shape: [Int], _ dtype: kiln_dtype = KILN_F32, layout: Layout = .dense, values: [Double]? = nil) {
    self.shape = shape
    self.dtype = dtype
    let last = shape.last ?? 1
    let rows = shape.dropLast().reduce(1, *)
    pitch = layout == .strided && shape.count > 1 ? last + 3 : last
    start = layout == .dense ? 64 / kiln_dtype_size(dtype) : 64 / kiln_dtype_size(dtype) + 1
    self.rows = rows
    capacity = start + rows * pitch + 16
    memory = .allocate(byteCount: capacity * kiln_dtype_size(dtype), alignment: 64)
    let values = values ?? [Double](repeating: .nan, count: shape.reduce(1, *))
    precondition(values.count == shape.reduce(1, *))
    fill(values)
  }

  deinit { memory.deallocate() }

  /// The view that a kernel gets.
  public var view: kiln_tensor {
    var tensor = shape.map(Int64.init).withUnsafeBufferPointer {
      kiln_tensor_dense(memory, dtype, Int32(shape.count), $0.baseAddress ?? UnsafePointer(bitPattern: 8)!)
    }
    tensor.offset = Int64(start * kiln_dtype_size(dtype))
    withUnsafeMutableBytes(of: &tensor.strides) { raw in
      let strides = raw.bindMemory(to: Int64.self)
      var stride = Int64(pitch)
      for index in shape.indices.dropLast().reversed() {
        strides[index] = stride
        stride *= Int64(shape[index])
      }
    }
    return tensor
  }

  /// The same of other memory, where all of this one's bytes are.
  func view(at memory: UnsafeMutableRawPointer) -> kiln_tensor {
    var tensor = view
    tensor.data = memory
    return tensor
  }

  /// With the guards.
  var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: memory, count: capacity * kiln_dtype_size(dtype))
  }

  /// The elements in row-major order.
  public var values: [Double] {
    switch dtype {
    case KILN_F32: elements(Float.self).map(Double.init)
    case KILN_BF16, KILN_F16: elements(UInt16.self).map(Narrow(dtype).value)
    case KILN_F64: elements(Double.self)
    default: elements(Int32.self).map(Double.init)
    }
  }

  /// The bits of the elements, for comparisons that must be exact.
  public var bits: [UInt64] { values.map(\.bitPattern) }

  /// Whether everything outside the tensor's elements is as it was.
  public var guardsIntact: Bool {
    switch dtype {
    case KILN_F32: guardsIntact(Float(Self.guardValue))
    case KILN_BF16, KILN_F16: guardsIntact(Self.narrowGuard)
    case KILN_F64: guardsIntact(Self.guardValue)
    default: guardsIntact(Self.integerGuard)
    }
  }

  private func fill(_ values: [Double]) {
    switch dtype {
    case KILN_F32: write(values.map { Float($0) }, guardedBy: Float(Self.guardValue))
    case KILN_BF16, KILN_F16: write(values.map(Narrow(dtype).bits), guardedBy: Self.narrowGuard)
    case KILN_F64: write(values, guardedBy: Self.guardValue)
    case KILN_I32: write(values.map { $0.isNaN ? 0 : Int32($0) }, guardedBy: Self.integerGuard)
    default: fatalError("test tensors are F32, F64, BF16, F16 or I32")
    }
  }

  // Debug builds run these loops over millions of elements: they are kept plain.

  private func typed<T>(_: T.Type) -> UnsafeMutableBufferPointer<T> {
    UnsafeMutableBufferPointer(start: memory.bindMemory(to: T.self, capacity: capacity), count: capacity)
  }

  private func elements<T>(_: T.Type) -> [T] {
    let all = typed(T.self)
    let last = shape.last ?? 1
    return Array(unsafeUninitializedCapacity: rows * last) { buffer, count in
      for row in 0..<rows {
        memcpy(buffer.baseAddress! + row * last, all.baseAddress! + start + row * pitch, last * MemoryLayout<T>.stride)
      }
      count = rows * last
    }
  }

  private func write<T>(_ values: [T], guardedBy guardValue: T) {
    let all = typed(T.self)
    let last = shape.last ?? 1
    all.initialize(repeating: guardValue)
    values.withUnsafeBufferPointer { buffer in
      for row in 0..<rows where last > 0 {
        memcpy(all.baseAddress! + start + row * pitch, buffer.baseAddress! + row * last, last * MemoryLayout<T>.stride)
      }
    }
  }

  private func guardsIntact<T: Equatable>(_ guardValue: T) -> Bool {
    let all = typed(T.self)
    let last = shape.last ?? 1
    func intact(_ range: Range<Int>) -> Bool { all[range].allSatisfy { $0 == guardValue } }
    guard intact(0..<start), intact(start + rows * pitch..<capacity) else { return false }
    return pitch == last || (0..<rows).allSatisfy { intact(start + $0 * pitch + last..<start + ($0 + 1) * pitch) }
  }
}

/// A type of 16 bits that tensors are stored in.
public struct Narrow: Sendable, CustomStringConvertible {
  public let dtype: kiln_dtype

  public static let all = [Narrow(KILN_BF16), Narrow(KILN_F16)]

  public init(_ dtype: kiln_dtype) { self.dtype = dtype }

  public var description: String { String(cString: kiln_dtype_name(dtype)) }

  /// From one number to the next larger one, relative to it and at least: twice what a rounding may change.
  public var spacing: (relative: Double, absolute: Double) {
    dtype == KILN_BF16 ? (0x1p-8, 0x1p-133) : (0x1p-11, 0x1p-24)
  }

  /// The bits of the number nearest to an fp32, ties to even.
  public func bits(_ value: Double) -> UInt16 {
    guard dtype == KILN_BF16 else { return Float16(Float(value)).bitPattern }
    let bits = Float(value).bitPattern
    return value.isNaN ? 0x7fc0 : UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
  }

  public func value(_ bits: UInt16) -> Double {
    Double(dtype == KILN_BF16 ? Float(bitPattern: UInt32(bits) << 16) : Float(Float16(bitPattern: bits)))
  }

  public func rounded(_ value: Double) -> Double { self.value(bits(value)) }
}

/// Numbers in -1 ..< 1 that a test can name: a function of the seed. Rounded to fp32, so that every dtype holds the same.
public func pseudoRandom(_ count: Int, seed: UInt64) -> [Double] {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(Float(Double(state >> 33) / Double(1 << 30) - 1))
  }
}
