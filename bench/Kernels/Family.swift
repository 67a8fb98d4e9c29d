// What the families of kernel cases share. `Norm.swift` is the one to read before adding another.

import Harness
import Kiln

/// Cases of one family of kernels.
protocol Family {
  static var name: String { get }
  static func cases(_ setup: Setup) -> [Case]
}

extension Family {
  /// A case of rows, forward and backward, where what must move is: read x, write y; read dy and x, write dx. Few rows
  /// stay in the caches: their rate is what the kernel could do if memory did not limit it.
  /// - Parameter make: the kernel on that many copies of its operands.
  static func rowsCase(
    _ setup: Setup, _ kind: Job.Kind, _ op: String, rows: Int, channels: Int, _ dtype: Job.DType, _ caches: Caches,
    make: @escaping (_ shape: Shape, _ copies: Int) throws -> Kernel
  ) -> Case {
    let bytes = rows * channels * dtype.size
    var item = Case(
      name, "\(op) \(rows)x\(channels) \(dtype.label) \(caches)", Cost(bytes: Double(5 * bytes)),
      contenders: [
        KernelContender(on: setup.context) { try make([rows, channels], setup.copies(of: 2 * bytes, caches)) }
      ])
    item.isBounded = caches == .cold
    if caches == .warm { item.work = Job(kind, op: op, dtype: dtype) { ($0.rows, $0.channels) = (rows, channels) } }
    return item
  }
}

/// What a case works with.
struct Setup {
  /// Kiln at work.
  let context: Context
  /// The plain loops that its results are checked against.
  let reference: Context
  /// Bytes that no cache holds.
  let coldBytes: Int

  /// Fresh normal numbers, the same in every run.
  func normal(_ shape: Shape, _ dtype: Job.DType = .float32, std: Double = 1, site: UInt32) throws -> Tensor {
    let values = try zeros(shape)
    try context.randomNormal(values, std: std, key: RandomKey(seed: 1, site: site))
    return dtype == .float32 ? values : try converted(values, to: dtype)
  }

  /// Where the context works.
  func zeros(_ shape: Shape, _ dtype: DType = .float32) throws -> Tensor {
    try Tensor(zeros: shape, dtype, on: context)
  }

  func integers(_ values: [Int32], _ shape: Shape) throws -> Tensor {
    let tensor = try zeros(shape, .int32)
    tensor.fill(from: try Tensor(values, shape))
    return tensor
  }

  func converted(_ x: Tensor, to dtype: Job.DType) throws -> Tensor {
    let y = try zeros(x.shape, dtype.storage)
    try context.copy(y, x)
    return y
  }

  func tokens(_ shape: Shape, below vocabulary: Int) throws -> Tensor {
    let count = shape.count
    return try integers((0..<count).map { Int32($0 &* 7919 % vocabulary) }, shape)
  }

  /// How many copies of `bytes` a case must go through before it comes back to the first, so that caches are cold.
  func copies(of bytes: Int, _ caches: Caches) -> Int { caches == .warm ? 1 : max(2, (coldBytes + bytes - 1) / bytes) }
}

/// Where the operands are when a kernel starts.
enum Caches: String { case cold, warm }

extension Job.DType {
  var storage: DType { self == .float32 ? .float32 : self == .bfloat16 ? .bfloat16 : .int8 }
  /// The unit that products of this type can use at best.
  var unit: ComputeUnit { self == .float32 ? .fma : self == .bfloat16 ? .dpbf16 : .dpbusd }
  /// How far a result may be from exact, relative to the largest: sums of a few thousand products, or one rounding to 8
  /// bits in the inputs of the last operation and one in its result.
  var tolerance: Double { self == .float32 ? 2e-5 : 2e-2 }
}

/// A kernel with its operands in place.
struct Kernel {
  /// The same work this often in one `run`, on operands of their own.
  var copies = 1
  var extraBytes: Int?
  var run: () throws -> Void
  /// Looks at what `run` left; throws `BenchFailure` where it is wrong.
  var check: () throws -> Void
}

extension KilnError {
  /// Whether there is no kernel for that on OpenCL devices, which is no fault of the bench.
  var isGapOfOpenCL: Bool { message.contains("OpenCL") }
}

/// Kiln in a case of kernels.
final class KernelContender: Contender {
  let name: String
  private let context: Context
  private let make: () throws -> Kernel
  private var kernel: Kernel?

  init(_ name: String = "kiln", on context: Context, make: @escaping () throws -> Kernel) {
    self.name = name
    self.context = context
    self.make = make
  }

  func prepare() throws -> String? {
    do {
      let kernel = try make()
      try kernel.run()
      try kernel.check()
      self.kernel = kernel
    } catch let error as KilnError where error.isGapOfOpenCL {
      throw Unavailable(error.message)
    }
    return nil
  }

  func run(_ times: Int) throws -> Timing {
    guard let kernel else { throw BenchFailure("\(name) was run before it was prepared") }
    let start = ContinuousClock.now
    for _ in 0..<times { try kernel.run() }
    try context.finish()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    return Timing(seconds: seconds / Double(kernel.copies), extraBytes: kernel.extraBytes)
  }

  func release() { kernel = nil }
}
