/// What a piece of work costs at least, whoever does it.
public struct Cost: Codable, Hashable, Sendable {
  /// A multiply and an add are two.
  public var flops: Double
  /// Bytes that must move to or from memory.
  public var bytes: Double

  public init(flops: Double = 0, bytes: Double = 0) {
    self.flops = flops
    self.bytes = bytes
  }

  /// Bytes per second where there are any to count, else operations per second.
  public func rate(seconds: Double) -> Double { (bytes > 0 ? bytes : flops) / seconds }
  public var unit: String? { bytes > 0 ? "GB/s" : flops > 0 ? "GFLOP/s" : nil }
}

/// The seconds of some runs together, and what they took of memory where that is known.
public struct Timing: Sendable {
  public var seconds: Double
  /// Beyond inputs and results.
  public var extraBytes: Int?
  /// The largest resident set of the process that works for this contender alone.
  public var peakResident: Int?

  public init(seconds: Double, extraBytes: Int? = nil, peakResident: Int? = nil) {
    self.seconds = seconds
    self.extraBytes = extraBytes
    self.peakResident = peakResident
  }
}

/// One way to do the work of a case: Kiln's kernel, another provider inside Kiln, or a peer in a process of its own.
public protocol Contender: AnyObject {
  var name: String { get }

  /// Allocates, checks the result and warms up. Returns what should be known of it, such as versions.
  /// Throws `Unavailable` where it cannot do this work, `BenchFailure` where its result is wrong.
  func prepare() throws -> String?

  /// Does the work so many times in a row.
  func run(_ times: Int) throws -> Timing

  /// Lets its memory go.
  func release()

  /// The process that works for it, where that is not this one.
  var process: Int32? { get }
}

extension Contender {
  public var process: Int32? { nil }
}

/// That a contender cannot do a case, which is shown and no fault of the bench.
public struct Unavailable: Error, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// What must not be: a wrong result, or a figure above what the machine can do.
public struct BenchFailure: Error, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// One line of the bench: a piece of work, its cost, and those who do it.
public struct Case {
  public var family: String
  public var name: String
  public var cost: Cost
  /// The unit whose ceiling bounds the arithmetic.
  public var unit: ComputeUnit
  /// Whether the cost is what must happen, so that a share above 1 shows a fault; false where caches may save traffic.
  public var isBounded = true
  /// Cases of one total are summed up, weighted by their time.
  public var total: String?
  /// What peers are asked to do; nil where none is.
  public var work: Job?
  /// Kiln first.
  public var contenders: [any Contender]
  /// Further figures, out of the medians and samples of all contenders.
  public var figures: (CaseResult) -> [Figure] = { _ in [] }

  public init(
    _ family: String, _ name: String, _ cost: Cost, unit: ComputeUnit = .fma, work: Job? = nil,
    contenders: [any Contender]
  ) {
    self.family = family
    self.name = name
    self.cost = cost
    self.unit = unit
    self.work = work
    self.contenders = contenders
  }
}
