// The scale of one axis: its range, its ticks at round numbers, and where a value lies on it.

import Foundation

struct ChartScale {
  let lower: Double
  let upper: Double
  let ticks: [Tick]
  private let isLogarithmic: Bool

  struct Tick: Equatable {
    var value: Double
    var label: String
  }

  /// Where a value lies, from 0 at the lower end to 1 at the upper.
  func position(_ value: Double) -> Double {
    isLogarithmic ? (log10(value) - log10(lower)) / (log10(upper) - log10(lower)) : (value - lower) / (upper - lower)
  }
}

extension ChartScale {
  /// For step numbers: exactly from the first to the last, ticks at whole steps.
  static func steps(_ values: [Double]) -> ChartScale {
    var (lower, upper) = bounds(values)
    if lower == upper {
      let margin = max(0.5, abs(upper) * 1e-9)
      (lower, upper) = (lower - margin, upper + margin)
    }
    let step = max(1, roundStep(upper - lower, count: 6))
    return ChartScale(lower: lower, upper: upper, step: step)
  }

  /// A linear scale that holds all values, from zero if asked, and ends at round numbers.
  static func linear(_ values: [Double], fromZero: Bool) -> ChartScale {
    var (lower, upper) = bounds(values)
    if fromZero { (lower, upper) = (min(0, lower), max(0, upper)) }
    let size = max(abs(lower), abs(upper))
    let isTiny = size < 1e-280
    if isTiny || upper - lower <= 1e-9 * size {
      let margin = isTiny ? 1 : size / 10
      (lower, upper) = (lower - margin, upper + margin)
    }
    let step = roundStep(upper - lower, count: 5)
    (lower, upper) = ((lower / step).rounded(.down) * step, (upper / step).rounded(.up) * step)
    return ChartScale(lower: lower, upper: upper, step: step)
  }

  /// A logarithmic scale if the values are positive and span more than two decades, else a linear one from zero.
  static func logarithmicIfWide(_ values: [Double]) -> ChartScale {
    let (lower, upper) = bounds(values)
    guard lower > 0, upper / lower > 100, upper / lower < .infinity else { return linear(values, fromZero: true) }
    let exponents = Int(log10(lower).rounded(.down))...Int(log10(upper).rounded(.up))
    let ticks = stride(from: exponents.lowerBound, through: exponents.upperBound, by: 1 + exponents.count / 8)
      .map { Tick(value: pow(10, Double($0)), label: formatReal(pow(10, Double($0)))) }
      .filter { (lower / 1.2...upper * 1.2).contains($0.value) }
    return ChartScale(lower: lower / 1.2, upper: upper * 1.2, ticks: ticks, isLogarithmic: true)
  }

  private init(lower: Double, upper: Double, step: Double) {
    let first = (lower / step - 1e-6).rounded(.up)
    let count = Int(((upper / step + 1e-6).rounded(.down) - first).rounded())
    let ticks = (0...max(0, min(count, 20))).map { (first + Double($0)) * step }
      .map { Tick(value: $0, label: Self.label($0, step: step, upper: upper)) }
    self.init(lower: lower, upper: upper, ticks: ticks, isLogarithmic: false)
  }

  private static func bounds(_ values: [Double]) -> (Double, Double) { (values.min() ?? 0, values.max() ?? 0) }

  /// The step of 1, 2 or 5 times a power of ten that cuts `span` into at most about `count` parts.
  private static func roundStep(_ span: Double, count: Double) -> Double {
    let power = pow(10, log10(span / count).rounded(.down))
    let factor = [1, 2, 5].first { $0 * power * count >= span * 0.999 } ?? 10
    return factor * power
  }

  private static func label(_ value: Double, step: Double, upper: Double) -> String {
    if abs(value) < step / 2 { return "0" }
    if step < 1e-3 { return scientific(value) }
    let (divisor, unit) = upper >= 1e6 ? (1e6, "M") : upper >= 1e4 ? (1e3, "k") : (1, "")
    return fixed(value / divisor, decimals: max(0, -Int(log10(step / divisor).rounded(.down)))) + unit
  }
}
