/// What repeated measurements say: the median, and how far they lie apart.
public struct Spread: Codable, Hashable, Sendable {
  public var median: Double
  public var low: Double
  public var high: Double
  public var count: Int

  /// nil without measurements.
  public init?(_ values: [Double]) {
    let sorted = values.sorted()
    guard let low = sorted.first, let high = sorted.last else { return nil }
    let middle = sorted.count / 2
    median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    self.low = low
    self.high = high
    count = sorted.count
  }
}
