import Foundation
import KilnKernels

/// How fast a machine is at each kind of node: seconds by its floating-point operations, or by its bytes where it has
/// none, at several sizes.
public struct Rates: Sendable, Codable, Equatable {
  struct Point: Codable, Equatable {
    var work: Double
    var secondsPerUnit: Double
  }

  /// By kind, in order of work.
  private var points: [String: [Point]] = [:]
  /// Bytes a second of the disk that things are offloaded to, which is not kept with the rest.
  public var disk = 1e9

  private enum CodingKeys: CodingKey { case points }

  init() {}

  /// Whether they are those of a machine.
  public var isMeasured: Bool { !points.isEmpty }

  /// A machine that nobody has: the same everywhere, for choices that must not depend on where they are made.
  public static let nominal = Rates()

  private static let nominalFlops = 100e9
  private static let nominalBytes = 20e9

  /// Operation and the types that it takes: products of 8 bits and of 32 differ.
  private static func kind(of node: Node) -> String {
    var types: [String] = []
    for input in node.inputs where !types.contains(input.type.dtype.rawValue) {
      types.append(input.type.dtype.rawValue)
    }
    return ([node.operation.label] + types).joined(separator: " ")
  }

  private static func work(of node: Node) -> (amount: Double, isFlops: Bool) {
    let work = node.operation.work(for: node.inputs.map(\.type))
    return work.flops > 0 ? (Double(work.flops), true) : (Double(max(work.bytes, 1)), false)
  }

  /// What a node takes.
  public func seconds(_ node: Node) -> Double {
    let (amount, isFlops) = Self.work(of: node)
    guard let points = points[Self.kind(of: node)], let first = points.first, let last = points.last else {
      return amount / (isFlops ? Self.nominalFlops : Self.nominalBytes)
    }
    // A smaller one takes as long as the smallest that was measured, which does little but begin and end.
    if amount <= first.work { return first.secondsPerUnit * first.work }
    guard let next = points.firstIndex(where: { $0.work >= amount }) else { return last.secondsPerUnit * amount }
    let (low, high) = (points[next - 1], points[next])
    let share = log(amount / low.work) / log(high.work / low.work)
    return amount * exp(log(low.secondsPerUnit) * (1 - share) + log(high.secondsPerUnit) * share)
  }

  /// Takes in a run: nodes of one kind and size as the mean of what they took.
  mutating func add(_ nodes: [(node: Node, seconds: Double)]) {
    var sums: [String: [Double: (seconds: Double, count: Double)]] = [:]
    for (node, seconds) in nodes {
      let sum = sums[Self.kind(of: node)]?[Self.work(of: node).amount] ?? (0, 0)
      sums[Self.kind(of: node), default: [:]][Self.work(of: node).amount] = (sum.seconds + seconds, sum.count + 1)
    }
    for (kind, sizes) in sums {
      let new = sizes.map { Point(work: $0.key, secondsPerUnit: max($0.value.seconds, 1e-9) / $0.value.count / $0.key) }
      let kept = (points[kind] ?? []).filter { sizes[$0.work] == nil }
      points[kind] = (kept + new).sorted { $0.work < $1.work }
    }
  }
}

extension Rates {
  /// Runs a plan several times and takes in what its nodes took, each at its fastest.
  public mutating func measure(_ session: Session, repetitions: Int = 3) throws(KilnError) {
    var fastest: [(node: Node, seconds: Double)] = []
    for _ in 0..<repetitions {
      var times: [(node: Node, seconds: Double)] = []
      try session.measure { times.append(($0, $1 / .seconds(1))) }
      fastest = fastest.isEmpty ? times : zip(fastest, times).map { ($0.node, min($0.seconds, $1.seconds)) }
    }
    add(fastest)
  }
}
