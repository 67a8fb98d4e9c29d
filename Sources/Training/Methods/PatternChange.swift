import Foundation
import KilnKernels

/// How a pattern changes while its weights are trained: some blocks go, as many come, and the optimizer's states go with
/// them.
public struct PatternChange: Sendable, Hashable {
  /// Where blocks come.
  public enum Growth: Sendable, Hashable {
    case random
    /// Where the gradient of the dense matrix is largest. The change then takes the place of an update.
    case gradient
    /// Where weights are largest, those included that wait beside what is kept: all is chosen anew.
    case magnitude
  }

  /// Steps between changes.
  public var every: Int
  /// The step from which on nothing changes.
  public var end: Int
  /// Of what is kept, that goes.
  public var fraction: Double
  /// Whether the fraction falls to 0 at the end, as a cosine does.
  public var anneals: Bool
  public var growth: Growth

  /// Whether patterns change in a step.
  public func isDue(at step: Int) -> Bool { step > 0 && step < end && step % every == 0 }

  /// The share of what is kept that goes in a step.
  public func fraction(at step: Int) -> Double {
    anneals ? fraction / 2 * (1 + cos(.pi * Double(step) / Double(end))) : fraction
  }
}

extension PatternChange {
  /// What the blocks of a weight are chosen by.
  struct Scores {
    /// Of what is kept, by which the smallest go.
    var kept: [Float]
    /// The sign of single elements, whose positive and negative ones go apart; nil where they do not.
    var isNegative: [Bool]?
    /// Of all blocks, by which the largest come.
    var growth: [Float]
  }

  /// What a pattern keeps after a change.
  func changed(_ pattern: SparsePattern, _ scores: Scores, at step: Int) -> [Int] {
    let fraction = fraction(at: step)
    let places = pattern.kept
    if case .groups(let kept, let group) = pattern.format {
      return swapped(places, kept: kept, of: group, scores, fraction)
    }
    let dropped = Set(weakest(scores, fraction))
    var isKept = [Bool](repeating: false, count: scores.growth.count)
    for (index, place) in places.enumerated() where !dropped.contains(index) { isKept[place] = true }
    // Blocks that have just gone may come again.
    let open = scores.growth.indices.map { isKept[$0] ? -Float.infinity : scores.growth[$0] }
    for place in Selection.largest(dropped.count, of: open) { isKept[place] = true }
    return isKept.indices.filter { isKept[$0] }
  }

  /// The kept blocks that go, by their number.
  private func weakest(_ scores: Scores, _ fraction: Double) -> [Int] {
    guard let isNegative = scores.isNegative else {
      return Selection.largest(Int(Double(scores.kept.count) * fraction), of: scores.kept.map { -$0 })
    }
    return [true, false].flatMap { sign in
      let side = isNegative.indices.filter { isNegative[$0] == sign }
      return Selection.largest(Int(Double(side.count) * fraction), of: side.map { -scores.kept[$0] }).map { side[$0] }
    }
  }

  /// N:M: in the groups whose weakest element is smallest it gives its place to the best of the others.
  private func swapped(
    _ places: [Int], kept: Int, of group: Int, _ scores: Scores, _ fraction: Double
  ) -> [Int] {
    guard kept < group else { return places }
    let weakest = stride(from: 0, to: places.count, by: kept).map { start in
      (start..<start + kept).min { scores.kept[$0] < scores.kept[$1] } ?? start
    }
    let count = min(Int(Double(places.count) * fraction), weakest.count)
    var places = places
    for index in Selection.largest(count, of: weakest.map { -scores.kept[$0] }) {
      let start = index * kept
      let taken = Set(places[start..<start + kept]).subtracting([places[weakest[index]]])
      let open = (index * group..<(index + 1) * group).filter { !taken.contains($0) }
      guard let best = open.max(by: { scores.growth[$0] < scores.growth[$1] }) else { continue }
      places[weakest[index]] = best
      places[start..<start + kept].sort()
    }
    return places
  }
}
