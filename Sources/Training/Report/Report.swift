// report.html: what a run's figures are and which charts show them.

import Foundation
import KilnCheckpoints
import KilnKernels

/// A run for people: one HTML file that needs nothing else, with the key figures, the curves over the steps, a table of
/// what the run was, and a text that the model wrote. It is well-formed XML too.
public enum Report {
  public static func html(title: String, metrics: [StepMetrics], summary: RunSummary) -> String {
    let page = ReportPage(
      title: title, tiles: tiles(metrics),
      charts: [
        loss(metrics, unigramBitsPerByte: summary.unigramBitsPerByte), learningRate(metrics), gradientNorm(metrics),
        speed(metrics), memory(metrics),
      ] + noiseScale(metrics),
      rows: summary.rows, sample: summary.sample)
    return page.html
  }

  /// Writes the page so that a reader never meets half of it. Throws if the file cannot be written.
  public static func write(
    to url: URL, title: String, metrics: [StepMetrics], summary: RunSummary
  ) throws(KilnError) {
    try AtomicFile.write(Data(html(title: title, metrics: metrics, summary: summary).utf8), to: url)
  }
}

extension Report {
  private static func tiles(_ metrics: [StepMetrics]) -> [ReportPage.Tile] {
    let last = metrics.last
    let held = metrics.last { $0.evalLoss != nil }
    let best = metrics.compactMap(\.evalLoss).min()
    let bits = metrics.last { $0.evalBitsPerByte != nil }?.evalBitsPerByte
    let steps = metrics.count == 1 ? "1 step" : "\(formatCount(metrics.count)) steps"
    let rates = metrics.map(\.tokensPerSecond).filter(\.isFinite).sorted()
    let rate = rates.isEmpty ? nil : rates[rates.count / 2]
    return [
      .init("Final loss", last.map { formatReal($0.loss) }, note: "nats per token"),
      .init(
        "Held-out loss", held?.evalLoss.map(formatReal),
        note: best.map { "best \(formatReal($0))" } ?? "not evaluated"),
      .init("Held-out", bits.map(formatReal), note: "bits per byte"),
      .init("Speed", rate.map(formatRate), note: "median"),
      .init("Peak memory", metrics.map(\.peakBytes).max().map(formatBytes), note: "of the whole process"),
      .init(
        "Time", last.map { formatDuration($0.seconds) }, note: "\(steps), \(formatCount(last?.tokens ?? 0)) tokens"),
    ]
  }

  private static func loss(_ metrics: [StepMetrics], unigramBitsPerByte: Double?) -> SVGChart {
    var series = measuredAndSmoothed("train", points(metrics, \.loss))
    series.append(ChartSeries("held-out", .marks, points(metrics, \.evalLoss)))
    if let first = metrics.first, let last = metrics.last,
      let level = unigramBitsPerByte.flatMap({ natsPerToken(bitsPerByte: $0, metrics) })
    {
      let ends = [first, last].map { ChartSeries.Point(x: Double($0.step), y: level) }
      series.append(ChartSeries("byte unigram \(formatReal(level))", .reference, ends))
    }
    return SVGChart(title: "Loss", unit: "nats per token", series: series, scale: .close, isMain: true)
  }

  /// Bits per byte on the axis of the loss. What a token is worth in bytes shows in the last evaluation, which has both
  /// units: nats per token = bits per byte x (its loss / its bits per byte).
  private static func natsPerToken(bitsPerByte: Double, _ metrics: [StepMetrics]) -> Double? {
    let ratios = metrics.compactMap { step -> Double? in
      guard let loss = step.evalLoss, let bits = step.evalBitsPerByte, loss > 0, bits > 0 else { return nil }
      return loss / bits
    }
    return ratios.last.map { bitsPerByte * $0 }
  }

  private static func learningRate(_ metrics: [StepMetrics]) -> SVGChart {
    let series = ChartSeries("learning rate", .line, points(metrics, \.lr))
    return SVGChart(title: "Learning rate", unit: "as scheduled", series: [series], scale: .fromZero)
  }

  private static func gradientNorm(_ metrics: [StepMetrics]) -> SVGChart {
    let series = measuredAndSmoothed("norm", points(metrics, \.gradNorm))
    return SVGChart(title: "Gradient norm", unit: "before clipping", series: series, scale: .logarithmicIfWide)
  }

  /// Where it was measured.
  private static func noiseScale(_ metrics: [StepMetrics]) -> [SVGChart] {
    let points = points(metrics, \.noiseScale)
    guard !points.isEmpty else { return [] }
    let series = ChartSeries("noise scale", .line, points)
    return [
      SVGChart(
        title: "Gradient noise scale", unit: "sequences: a useful batch", series: [series], scale: .logarithmicIfWide)
    ]
  }

  private static func speed(_ metrics: [StepMetrics]) -> SVGChart {
    let series = measuredAndSmoothed("speed", points(metrics, \.tokensPerSecond))
    return SVGChart(title: "Speed", unit: "tokens/s", series: series, scale: .fromZero)
  }

  private static func memory(_ metrics: [StepMetrics]) -> SVGChart {
    let isLarge = metrics.contains { $0.peakBytes >= 1 << 30 }
    let divisor = Double(isLarge ? 1 << 30 : 1 << 20)
    let points = metrics.map { ChartSeries.Point(x: Double($0.step), y: Double($0.peakBytes) / divisor) }
    let series = ChartSeries("peak memory", .line, points)
    return SVGChart(title: "Peak memory", unit: isLarge ? "GiB" : "MiB", series: [series], scale: .fromZero)
  }

  private static func measuredAndSmoothed(_ name: String, _ points: [ChartSeries.Point]) -> [ChartSeries] {
    let measured = ChartSeries(name, .measured, points)
    let window = max(1, points.count / 80)
    return window == 1 ? [ChartSeries(name, .line, points)] : [measured, measured.smoothed("smoothed", window: window)]
  }

  private static func points(_ metrics: [StepMetrics], _ value: (StepMetrics) -> Double?) -> [ChartSeries.Point] {
    metrics.compactMap { step in value(step).map { ChartSeries.Point(x: Double(step.step), y: $0) } }
  }
}
