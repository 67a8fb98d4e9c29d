// One chart as inline SVG. The viewport of the SVG is the plot itself and stretches with the page: data lie in a
// nested viewport of 1000 x 1000 units, labels stand beside the plot in plain pixels and so keep their size.

import Foundation

struct SVGChart {
  var title: String
  /// What the y axis counts, such as "GiB"; shown after the title.
  var unit: String
  var series: [ChartSeries]
  var scale: Scale
  /// Larger than the others.
  var isMain = false
  /// What the x axis counts.
  var place = "step"

  enum Scale {
    case close, fromZero, logarithmicIfWide
  }

  /// The chart with its title and legend as a `<figure>`; nothing if there is no point to draw.
  var figure: String {
    let points = series.flatMap(\.points)
    guard !points.isEmpty else { return "" }
    let x = ChartScale.steps(points.map(\.x))
    let values = points.map(\.y)
    let y =
      switch scale {
      case .close: ChartScale.linear(values, fromZero: false)
      case .fromZero: ChartScale.linear(values, fromZero: true)
      case .logarithmicIfWide: ChartScale.logarithmicIfWide(values)
      }
    return """
      <figure\(isMain ? " class=\"main\"" : "")>
      <figcaption><h2>\(escaped(title)) <small>\(escaped(unit))</small></h2>\(legend)</figcaption>
      <svg class="chart" role="img" aria-label="\(escaped(description))">
      \(axes(x, y))
      <svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none">
      \(series.map { path(of: $0, x, y) }.joined(separator: "\n"))
      </svg>
      \(probes(x))
      </svg>
      </figure>
      """
  }

  /// For who cannot see the chart: where each series begins and ends.
  private var description: String {
    let courses = series.compactMap { series -> String? in
      guard let first = series.points.first, let last = series.points.last else { return nil }
      return "\(series.name) from \(formatReal(first.y)) at \(place) \(fixed(first.x, decimals: 0))"
        + " to \(formatReal(last.y)) at \(place) \(fixed(last.x, decimals: 0))"
    }
    return "\(title), \(unit): \(courses.joined(separator: "; "))"
  }

  private var legend: String {
    let drawn = series.filter { !$0.points.isEmpty }
    guard drawn.count > 1 else { return "" }
    let items = drawn.map { "<li class=\"\($0.style.rawValue)\">\(escaped($0.name))</li>" }
    return "<ul>\(items.joined())</ul>"
  }

  private func axes(_ x: ChartScale, _ y: ChartScale) -> String {
    let rows = y.ticks.map { tick in
      let top = percent(1 - y.position(tick.value))
      return "<line class=\"grid\" x2=\"100%\" y1=\"\(top)\" y2=\"\(top)\"/>"
        + "<text class=\"y\" x=\"-8\" y=\"\(top)\" dy=\"0.35em\">\(tick.label)</text>"
    }
    let columns = x.ticks.map { tick in
      let left = percent(x.position(tick.value))
      return "<svg x=\"\(left)\" y=\"100%\" overflow=\"visible\"><line class=\"tick\" y2=\"4\"/>"
        + "<text class=\"x\" y=\"18\">\(tick.label)</text></svg>"
    }
    let base = "<line class=\"grid\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>"
    return ([base] + rows + columns).joined(separator: "\n")
  }

  /// Marks and single points are lines of no length: their round caps stay round however the plot is stretched.
  private func path(of series: ChartSeries, _ x: ChartScale, _ y: ChartScale) -> String {
    let points = decimated(series.points, columns: isMain ? 500 : 250).map { point in
      "\(fixed(1000 * x.position(point.x), decimals: 1)),\(fixed(1000 * (1 - y.position(point.y)), decimals: 1))"
    }
    guard !points.isEmpty else { return "" }
    let line = "M" + points.joined(separator: " ")
    let dots = points.map { "M\($0)h0" }.joined()
    return switch series.style {
    case .marks: "<path class=\"thread\" d=\"\(line)\"/><path class=\"marks\" d=\"\(dots)\"/>"
    case _ where points.count == 1: "<path class=\"dot\" d=\"\(dots)\"/>"
    default: "<path class=\"\(series.style.rawValue)\" d=\"\(line)\"/>"
    }
  }

  /// Upright strips over the whole plot, each showing the values of one step while the pointer is on it.
  private func probes(_ x: ChartScale) -> String {
    let readable = series.filter { $0.style != .reference }
    let steps = probedSteps(readable.map(\.points), x, columns: isMain ? 60 : 30)
    let middles = zip(steps, steps.dropFirst()).map { ($0 + $1) / 2 }
    let values = readable.map { Dictionary($0.points.map { ($0.x, $0.y) }, uniquingKeysWith: { $1 }) }
    return zip(steps, zip([x.lower] + middles, middles + [x.upper])).map { step, ends in
      let readings = zip(readable, values).compactMap { series, values in
        values[step].map { "\(series.name) \(formatReal($0))" }
      }
      let (left, right, line) = (x.position(ends.0), x.position(ends.1), percent(x.position(step)))
      let text = (["\(place) \(fixed(step, decimals: 0))"] + readings).joined(separator: " · ")
      return "<g class=\"probe\"><rect x=\"\(percent(left))\" width=\"\(percent(right - left))\" height=\"100%\"/>"
        + "<line x1=\"\(line)\" x2=\"\(line)\" y2=\"100%\"/><text x=\"100%\" y=\"-8\">\(escaped(text))</text></g>"
    }.joined(separator: "\n")
  }

  /// One step for each column that has any, of the series with the fewest points there: the rare values are readable.
  private func probedSteps(_ series: [[ChartSeries.Point]], _ x: ChartScale, columns: Int) -> [Double] {
    var steps: [Int: Double] = [:]
    for points in series.sorted(by: { $0.count > $1.count }) {
      for point in points { steps[Int(x.position(point.x) * Double(columns) * 0.999)] = point.x }
    }
    return steps.values.sorted()
  }

  private func percent(_ fraction: Double) -> String { fixed(100 * fraction, decimals: 2) + "%" }
}
