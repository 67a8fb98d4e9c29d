import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Elements of any type between guards, one past the alignment.
final class Elements<T: BitwiseCopyable & Equatable> {
  let count: Int
  private let memory: UnsafeMutablePointer<T>
  private let guardValue: T
  private static var margin: Int { 65 }

  init(_ values: [T], guardedBy guardValue: T) {
    count = values.count
    self.guardValue = guardValue
    memory = .allocate(capacity: count + 2 * Self.margin)
    memory.initialize(repeating: guardValue, count: count + 2 * Self.margin)
    for (index, value) in values.enumerated() { memory[Self.margin + index] = value }
  }

  deinit { memory.deallocate() }

  func view(_ dtype: kiln_dtype, _ shape: [Int]? = nil) -> kiln_tensor {
    let shape = (shape ?? [count]).map(Int64.init)
    return kiln_tensor_dense(memory + Self.margin, dtype, Int32(shape.count), shape)
  }

  var values: [T] {
    get { (0..<count).map { memory[Self.margin + $0] } }
    set { for (index, value) in newValue.enumerated() { memory[Self.margin + index] = value } }
  }

  var isIntact: Bool {
    (0..<Self.margin).allSatisfy { memory[$0] == guardValue && memory[Self.margin + count + $0] == guardValue }
  }
}

func floats(_ values: [Float]) -> Elements<Float> { Elements(values, guardedBy: -7e30) }
func bytes(_ count: Int) -> Elements<UInt8> { Elements([UInt8](repeating: 0xA5, count: count), guardedBy: 0x5A) }
func halves(_ count: Int) -> Elements<UInt16> { Elements([UInt16](repeating: 0xA5A5, count: count), guardedBy: 0x5A5A) }

/// The bits of numbers, all NaNs being one.
func bits(_ values: [Float]) -> [UInt32] { values.map { $0.isNaN ? 0x7FC0_0000 : $0.bitPattern } }

func upper(_ x: Float) -> UInt16 { UInt16(x.bitPattern >> 16) }
func widened(_ half: UInt16) -> Float { Float(bitPattern: UInt32(half) << 16) }

/// Casts, scales and block formats, on every instruction set, against definitions computed here.
struct QuantTests {
  /// New ones, since tests run beside each other: the reference, each instruction set, and the best with more threads.
  static var contexts: [TestContext] {
    [TestContext(device: KILN_DEVICE_REF)] + TestContext.availableISAs.map { TestContext(isa: $0) }
      + [TestContext(threads: 2), TestContext(threads: 3), TestContext(threads: 7)]
  }

  static func options(seed: UInt64 = 5, step: UInt64 = 0) -> kiln_rounding_options {
    var options = kiln_rounding_defaults()
    options.rounding = KILN_ROUND_STOCHASTIC
    options.seed = seed
    options.step = step
    options.site = 3
    return options
  }

  /// The random word of an element.
  static func word(_ element: Int, seed: UInt32 = 5) -> UInt32 {
    var words: [UInt32] = [0, 0, 0, 0]
    kiln_philox4x32(&words, [UInt32(element / 4), 3, 0, 0], [seed, 0])
    return words[element % 4]
  }

  static func values(_ count: Int, seed: UInt64, spread: Double = 0) -> [Float] {
    zip(pseudoRandom(count, seed: seed), pseudoRandom(count, seed: seed + 100)).map { Float($0 * exp(spread * $1)) }
  }

  /// What `run` leaves on each context must be the same bits; the first one's.
  /// - Parameter onOpenCL: whether there are kernels for it.
  static func same<R: Equatable>(_ name: String, onOpenCL: Bool = false, _ run: (TestContext) -> R) -> R {
    let device = onOpenCL && TestContext.hasOpenCL ? [TestContext(device: KILN_DEVICE_OPENCL)] : []
    let contexts = contexts + device
    let reference = run(contexts[0])
    for (index, context) in contexts.enumerated().dropFirst() {
      let equal = run(context) == reference
      #expect(equal, "\(name): not the reference's bits in context \(index)")
    }
    return reference
  }

  static func check(_ context: TestContext, _ status: kiln_status) {
    #expect(status == KILN_OK, "\(context.lastError)")
  }
}
