// What a chart draws: points over steps, made smooth, and thinned to what the eye can tell apart.

import Foundation

struct ChartSeries {
  enum Style: String {
    /// The measured values themselves, faint behind their smoothed line.
    case measured
    case line
    /// Few values, each with a mark.
    case marks
    /// A level to compare with, drawn dashed; not read out.
    case reference
  }

  struct Point: Equatable {
    var x: Double
    var y: Double
  }

  var name: String
  var style: Style
  var points: [Point]

  /// Points that cannot be drawn, not finite or beyond all reason, are left out.
  init(_ name: String, _ style: Style, _ points: [Point]) {
    self.name = name
    self.style = style
    self.points = points.filter { abs($0.x) < 1e300 && abs($0.y) < 1e300 }
  }

  /// The exponential moving average over about `window` points, free of the bias to its start:
  /// m_i = β m_(i-1) + (1 - β) y_i, shown as m_i / (1 - β^i), with β = 1 - 1 / window.
  func smoothed(_ name: String, window: Int) -> ChartSeries {
    let beta = 1 - 1 / Double(max(1, window))
    var (average, weight) = (0.0, 0.0)
    return ChartSeries(
      name, .line,
      points.map { point in
        average = beta * average + (1 - beta) * point.y
        weight = beta * weight + (1 - beta)
        return Point(x: point.x, y: average / weight)
      })
  }
}

/// At most four points for each of `columns` equal parts of the range of x: the first, the lowest, the highest and the
/// last, in their order, so that every spike stays. Expects x in ascending order.
func decimated(_ points: [ChartSeries.Point], columns: Int) -> [ChartSeries.Point] {
  guard points.count > 4 * columns, let first = points.first, let last = points.last, last.x > first.x else {
    return points
  }
  var kept: [ChartSeries.Point] = []
  var rest = points[...]
  for column in 1...columns {
    let end = column == columns ? .infinity : first.x + (last.x - first.x) * Double(column) / Double(columns)
    let part = rest.prefix { $0.x < end }
    rest = rest.dropFirst(part.count)
    let extremes = [
      part.indices.first, part.indices.min { part[$0].y < part[$1].y }, part.indices.max { part[$0].y < part[$1].y },
      part.indices.last,
    ]
    kept += Set(extremes.compactMap { $0 }).sorted().map { part[$0] }
  }
  return kept
}
