import Foundation

/// Points of several groups in a plane, each with its name beside it, as an SVG file.
public struct ScatterPlot {
  public struct Point {
    var name: String
    var x, y: Double

    public init(_ name: String, x: Double, y: Double) {
      (self.name, self.x, self.y) = (name, x, y)
    }
  }

  public struct Group {
    var name: String
    var points: [Point]

    public init(_ name: String, _ points: [Point]) {
      (self.name, self.points) = (name, points)
    }
  }

  private let title, xLabel, yLabel: String
  private let groups: [Group]

  private static let (width, height, margin) = (960.0, 560.0, 64.0)
  /// Told apart by those who do not see all colours, on light and on dark ground.
  private static let colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"]

  public init(_ title: String, x: String, y: String, _ groups: [Group]) {
    (self.title, xLabel, yLabel, self.groups) = (title, x, y, groups.filter { !$0.points.isEmpty })
  }

  /// Both axes begin at 0.
  public var svg: String {
    let points = groups.flatMap(\.points)
    let (x, y) = (Axis(points.map(\.x)), Axis(points.map(\.y)))
    let body = axes(x, y) + marks(x, y) + legend
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" \
      font-family="system-ui, sans-serif" font-size="12">
      <title>\(title.escaped)</title>
      <rect width="100%" height="100%" fill="#ffffff"/>
      <text x="\(Self.margin)" y="24" font-size="16">\(title.escaped)</text>
      \(body.joined(separator: "\n"))
      </svg>

      """
  }

  /// From 0 to a round number, in about six steps.
  private struct Axis {
    let step: Double
    let upper: Double

    init(_ values: [Double]) {
      let largest = max(values.max() ?? 0, 1e-9)
      let power = pow(10, log10(largest / 6).rounded(.down))
      step = ([1, 2, 5].first { $0 * power * 6 >= largest } ?? 10) * power
      upper = (largest / step).rounded(.up) * step
    }

    var ticks: [Double] { Array(stride(from: 0, through: upper * 1.001, by: step)) }
  }

  private func place(_ value: Double, on axis: Axis, isX: Bool) -> Double {
    let share = value / axis.upper
    return isX
      ? Self.margin + share * (Self.width - 2 * Self.margin)
      : Self.height - Self.margin - share * (Self.height - 2 * Self.margin)
  }

  private func axes(_ x: Axis, _ y: Axis) -> [String] {
    let (left, right) = (Self.margin, Self.width - Self.margin)
    let rows = y.ticks.map { tick in
      let at = place(tick, on: y, isX: false).coordinate
      return "<path d=\"M\(left) \(at)H\(right)\" stroke=\"#dddddd\"/>"
        + "<text x=\"\(left - 8)\" y=\"\(at)\" dy=\"4\" text-anchor=\"end\">\(tick.formatted)</text>"
    }
    let columns = x.ticks.map { tick in
      "<text x=\"\(place(tick, on: x, isX: true).coordinate)\" y=\"\(Self.height - Self.margin + 18)\" "
        + "text-anchor=\"middle\">\(tick.formatted)</text>"
    }
    return rows + columns + [
      "<text x=\"\(right)\" y=\"\(Self.height - 20)\" text-anchor=\"end\">\(xLabel.escaped)</text>",
      "<text x=\"\(left)\" y=\"\(Self.margin - 16)\">\(yLabel.escaped)</text>",
    ]
  }

  /// A name's place: beside its point, on the nearest line where no other name and no point is.
  private struct Label {
    let left, right, y: Double

    func meets(_ other: Label) -> Bool { left < other.right && other.left < right && abs(y - other.y) < 12 }
  }

  private func marks(_ x: Axis, _ y: Axis) -> [String] {
    func center(_ point: Point) -> (x: Double, y: Double) {
      (place(point.x, on: x, isX: true), place(point.y, on: y, isX: false))
    }
    var taken = groups.flatMap(\.points).map { point in
      let at = center(point)
      return Label(left: at.x - 5, right: at.x + 5, y: at.y)
    }
    return groups.enumerated().flatMap { index, group in
      group.points.map { point in
        let at = center(point)
        let length = 6.4 * Double(point.name.count)
        let lines = (0..<8).flatMap { [Double($0) * 13, Double($0) * -13] }
        let candidates = lines.flatMap { line in
          [at.x + 8, at.x - 8 - length].map { left in Label(left: left, right: left + length, y: at.y + line) }
        }
        let free = candidates.first { label in
          label.left > Self.margin && label.right < Self.width && !taken.contains(where: label.meets)
        }
        let label = free ?? candidates[0]
        taken.append(label)
        let color = Self.colors[index % Self.colors.count]
        let circle = "<circle cx=\"\(at.x.coordinate)\" cy=\"\(at.y.coordinate)\" r=\"4.5\" fill=\"\(color)\"/>"
        return circle + "<text x=\"\(label.left.coordinate)\" y=\"\(label.y.coordinate)\" dy=\"4\" fill=\"\(color)\">"
          + "\(point.name.escaped)</text>"
      }
    }
  }

  private var legend: [String] {
    groups.enumerated().map { index, group in
      let top = Self.margin + 18 * Double(index) - 36
      let left = Self.width - Self.margin - 190
      return "<circle cx=\"\(left)\" cy=\"\(top)\" r=\"4.5\" fill=\"\(Self.colors[index % Self.colors.count])\"/>"
        + "<text x=\"\(left + 10)\" y=\"\(top)\" dy=\"4\">\(group.name.escaped)</text>"
    }
  }
}

extension Double {
  fileprivate var coordinate: String { String(format: "%.1f", self) }
  fileprivate var formatted: String { self == rounded() ? "\(Int(self))" : String(format: "%g", self) }
}

extension String {
  fileprivate var escaped: String {
    replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
}
