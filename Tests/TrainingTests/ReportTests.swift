// The report: well-formed whatever it is given, nothing lost by thinning, round ticks, readable numbers.

import Foundation
import KilnKernels
import Testing

@testable import KilnTraining

#if canImport(FoundationXML)
  import FoundationXML
#endif

@Suite struct ReportTests {
  @Test func isOneWellFormedPageWithAllCharts() throws {
    let summary = RunSummary(
      rows: [.init("Model", "GPT-2"), .init("Seed", "1")], sample: "Once", unigramBitsPerByte: 4.5)
    let page = try Page(Report.html(title: "tiny run", metrics: run(steps: 600), summary: summary))
    #expect(page.text(of: "h1") == ["tiny run"])
    #expect(page.text(of: "dt").count == 6)
    #expect(page.text(of: "tr") == ["ModelGPT-2", "Seed1"])
    #expect(page.text(of: "pre") == ["Once"])
    let labels = page.attributes(of: "svg", named: "aria-label")
    let titles = labels.map { $0.prefix { $0 != "," } }
    #expect(titles == ["Loss", "Learning rate", "Gradient norm", "Speed", "Peak memory"])
    #expect(labels.first?.contains("held-out from 4.1 at step 0 to ") == true)
    #expect(page.attributes(of: "path", named: "class").filter { $0 == "marks" || $0 == "reference" }.count == 2)
    for element in ["script", "link", "img", "iframe"] { #expect(page.text(of: element).isEmpty) }
    #expect(!page.source.contains("url(") && !page.source.contains("href") && !page.source.contains("@import"))
  }

  @Test func showsTheKeyFigures() throws {
    var metrics = run(steps: 101)
    metrics[99].evalLoss = 1.25
    metrics[100].evalLoss = 1.5
    metrics[100].evalBitsPerByte = 2.1640425
    let page = try Page(Report.html(title: "", metrics: metrics, summary: RunSummary(rows: [])))
    let figures = zip(page.text(of: "dt"), page.text(of: "dd")).map { "\($0): \($1)" }
    #expect(
      figures == [
        "Final loss: 1.032 nats per token", "Held-out loss: 1.5 best 1.25", "Held-out: 2.164 bits per byte",
        "Speed: 38.1k tokens/s median", "Peak memory: 1.3 GiB of the whole process",
        "Time: 2m 05s 101 steps, 827k tokens",
      ])
  }

  @Test func putsTheByteUnigramOnTheAxisOfTheLoss() throws {
    var metrics = run(steps: 3)
    metrics[2].evalLoss = 3
    metrics[2].evalBitsPerByte = 2
    let known = Report.html(title: "", metrics: metrics, summary: RunSummary(rows: [], unigramBitsPerByte: 4.5))
    #expect(try Page(known).text(of: "li").contains("byte unigram 6.75"))
    metrics[0].evalBitsPerByte = nil
    metrics[2].evalBitsPerByte = nil
    let unknown = Report.html(title: "", metrics: metrics, summary: RunSummary(rows: [], unigramBitsPerByte: 4.5))
    #expect(try !Page(unknown).text(of: "li").contains { $0.contains("unigram") })
  }

  @Test func escapesAllThatComesFromOutside() throws {
    let nasty = "</pre><script>alert(\"1\" & '2')</script>]]>\u{0}\u{1B}\u{FFFF}\t\n é 漢字 👩‍👩‍👧"
    let shown = "</pre><script>alert(\"1\" & '2')</script>]]>␀␛\u{FFFD}\t\n é 漢字 👩‍👩‍👧"
    let summary = RunSummary(rows: [.init(nasty, nasty)], sample: nasty)
    let page = try Page(Report.html(title: nasty, metrics: run(steps: 2), summary: summary))
    #expect(page.text(of: "script").isEmpty)
    #expect(page.text(of: "h1") == [shown])
    #expect(page.text(of: "pre") == [shown])
    #expect(page.text(of: "tr") == [shown + shown])
  }

  @Test(arguments: [0, 1, 2, 3])
  func showsRunsOfHardlyAnyStep(steps: Int) throws {
    let page = try Page(Report.html(title: "short", metrics: run(steps: steps), summary: RunSummary(rows: [])))
    #expect(page.text(of: "figure").count == (steps == 0 ? 0 : 5))
    #expect(page.source.contains("No step has been trained.") == (steps == 0))
    #expect(page.attributes(of: "path", named: "class").filter { $0 == "dot" }.count == (steps == 1 ? 5 : 0))
    #expect(!page.source.contains("nan") && !page.source.contains("inf"))
  }

  @Test func survivesAbsurdNumbers() throws {
    let absurd = [
      Double.nan, .infinity, -.infinity, 0, -1, 1e308, -1e308, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 1e-290,
      1e18,
    ]
    let integers = [Int.max, Int.min, 0, -1, Int.max - 1]
    for (index, value) in absurd.enumerated() {
      for other in [value, 1, absurd[(index + 5) % absurd.count]] {
        let metrics = [value, other].enumerated().map { place, number in
          let integer = integers[(index + place) % integers.count]
          return StepMetrics(
            step: integer, loss: number, gradNorm: number, lr: number, tokens: integer, seconds: number,
            tokensPerSecond: number, peakBytes: integer, evalLoss: number, evalBitsPerByte: value)
        }
        for part in [metrics, Array(metrics.prefix(1))] {
          let summary = RunSummary(rows: [], unigramBitsPerByte: value)
          let page = try Page(Report.html(title: "absurd", metrics: part, summary: summary))
          for name in ["d", "x", "y", "x1", "x2", "y1", "y2", "width"] {
            let bad = page.attributes(of: nil, named: name).filter { $0.contains("nan") || $0.contains("inf") }
            #expect(bad.isEmpty, "\(value) and \(other)")
          }
        }
      }
    }
  }

  @Test func writesTheFileOrNamesIt() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("report-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let url = folder.appendingPathComponent("report.html")
    let summary = RunSummary(rows: [.init("Seed", "1")])
    for steps in [4, 2] {
      try Report.write(to: url, title: "run", metrics: run(steps: steps), summary: summary)
      let expected = Report.html(title: "run", metrics: run(steps: steps), summary: summary)
      #expect(try String(contentsOf: url, encoding: .utf8) == expected)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["report.html"])
    let nowhere = folder.appendingPathComponent("none/report.html")
    let error = #expect(throws: KilnError.self) {
      try Report.write(to: nowhere, title: "run", metrics: [], summary: summary)
    }
    #expect(error?.message.contains("\(nowhere.path)': No such file or directory") == true)
  }
}

@Suite struct ChartTests {
  @Test func thinningKeepsSpikesAndEnds() {
    var points = (0..<20_000).map { ChartSeries.Point(x: Double($0), y: sin(Double($0) / 7)) }
    points[7_321].y = 90
    points[15_000].y = -90
    let kept = decimated(points, columns: 100)
    #expect(kept.count <= 400 && kept.count > 200)
    #expect(kept.contains(points[7_321]) && kept.contains(points[15_000]))
    #expect(kept.first == points.first && kept.last == points.last)
    #expect(zip(kept, kept.dropFirst()).allSatisfy { $0.x < $1.x })
    #expect(decimated(Array(points.prefix(400)), columns: 100) == Array(points.prefix(400)))
  }

  @Test func aSpikeReachesThePage() throws {
    var metrics = run(steps: 30_000)
    metrics[12_345].gradNorm = 1e6
    let html = Report.html(title: "long", metrics: metrics, summary: RunSummary(rows: []))
    #expect(html.utf8.count < 300_000)
    #expect(try Page(html).text(of: "text").contains("1e5"))
  }

  @Test func smoothingHasNoBiasToItsStart() {
    let constant = ChartSeries("loss", .measured, (0..<50).map { .init(x: Double($0), y: 3) })
    #expect(constant.smoothed("smoothed", window: 10).points.allSatisfy { abs($0.y - 3) < 1e-12 })
    let two = ChartSeries("loss", .measured, [.init(x: 0, y: 4), .init(x: 1, y: 1)])
    // β = 1/2: (4/4 + 1/2) / (1 - 1/4) = 2.
    #expect(two.smoothed("smoothed", window: 2).points.map(\.y) == [4, 2])
  }

  @Test func linearTicksAreRound() {
    let loss = ChartScale.linear([1.47, 5.55], fromZero: false)
    #expect(loss.ticks.map(\.label) == ["1", "2", "3", "4", "5", "6"])
    #expect(loss.position(1) == 0 && loss.position(6) == 1 && loss.position(3.5) == 0.5)
    func labels(_ values: [Double], fromZero: Bool = true) -> [String] {
      ChartScale.linear(values, fromZero: fromZero).ticks.map(\.label)
    }
    #expect(labels([1.2e9]) == ["0", "500M", "1000M", "1500M"])
    #expect(labels([38_200, 41_000]) == ["0", "10k", "20k", "30k", "40k", "50k"])
    #expect(labels([0, 3e-4]) == ["0", "1e-4", "2e-4", "3e-4"])
    #expect(labels([1.31, 1.302], fromZero: false) == ["1.302", "1.304", "1.306", "1.308", "1.31"])
    #expect(labels([0, 0]) == ["-1", "-0.5", "0", "0.5", "1"])
  }

  @Test func stepTicksAreWholeSteps() {
    #expect(ChartScale.steps([0, 599]).ticks.map(\.value) == [0, 100, 200, 300, 400, 500])
    #expect(ChartScale.steps([0, 2]).ticks.map(\.label) == ["0", "1", "2"])
    #expect(ChartScale.steps([7]).ticks.map(\.label) == ["7"])
    #expect(
      ChartScale.steps([100_000, 150_000]).ticks.map(\.label) == ["100k", "110k", "120k", "130k", "140k", "150k"])
  }

  @Test func normsOfManyDecadesGetALogarithmicAxis() {
    let wide = ChartScale.logarithmicIfWide([0.5, 80])
    #expect(wide.ticks.map(\.label) == ["1", "10"])
    #expect(abs(wide.position((0.5 * 80).squareRoot()) - 0.5) < 1e-12)
    #expect(
      ChartScale.logarithmicIfWide([1e-5, 1]).ticks.map(\.label) == ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"])
    #expect(ChartScale.logarithmicIfWide([0.5, 40]).ticks.map(\.label).first == "0")
    #expect(ChartScale.logarithmicIfWide([0, 1e4]).ticks.map(\.label).first == "0")
  }
}

@Suite struct FormattingTests {
  @Test func countsAndRates() {
    #expect(
      [0, 7, 999, 1000, 1249, 12_400, 123_456, 999_600, 4_915_200].map { formatCount($0) }
        == ["0", "7", "999", "1k", "1.2k", "12.4k", "123k", "1M", "4.9M"])
    #expect(formatRate(3.14) == "3.1 tokens/s")
    #expect(formatRate(1234) == "1.2k tokens/s")
    #expect(formatRate(.nan) == "– tokens/s")
  }

  @Test func bytes() {
    #expect(
      [0, 512, 1536, 1 << 20, 1_395_864_371, 1 << 30 - 1, Int.max].map { formatBytes($0) }
        == ["0 B", "512 B", "1.5 KiB", "1 MiB", "1.3 GiB", "1 GiB", "8388608 TiB"])
  }

  @Test func durations() {
    let shown = [0, 0.84, 9.9, 9.99, 59.6, 125, 3720, 273_600, 1e18, .infinity, -1, .nan].map { formatDuration($0) }
    let short = ["0s", "0.8s", "9.9s", "10s", "1m 00s", "2m 05s", "1h 02m", "3d 04h"]
    #expect(shown == short + ["11574074074074d 01h", "–", "–", "–"])
  }

  @Test func reals() {
    #expect(
      [0, 1.4816, 12.3456, 0.0123456, 3e-4, -2.5, 1.25e9, .nan].map { formatReal($0) }
        == ["0", "1.482", "12.35", "0.01235", "3e-4", "-2.5", "1.25e9", "–"])
  }
}

/// A run whose loss falls from 4 towards 1, evaluated every 50 steps.
private func run(steps: Int) -> [StepMetrics] {
  (0..<steps).map { step in
    let loss = 1 + 96 / Double(step + 32) * exp(-Double(step) / 32)
    let isEvaluated = step % 50 == 0
    return StepMetrics(
      step: step, loss: loss, gradNorm: 0.5 + 1 / Double(step + 1), lr: 3e-4, tokens: 8192 * (step + 1),
      seconds: 1.24 * Double(step + 1), tokensPerSecond: 38_100, peakBytes: 1_395_864_371,
      evalLoss: isEvaluated ? loss + 0.1 : nil, evalBitsPerByte: isEvaluated ? (loss + 0.1) * 1.5 : nil)
  }
}

/// A parsed page: the text and attributes of its elements, in their order. It parses only if it is well-formed.
private final class Page: NSObject, XMLParserDelegate {
  let source: String
  private var elements: [(name: String, attributes: [String: String], text: String)] = []
  private var open: [Int] = []

  init(_ source: String) throws {
    self.source = source
    super.init()
    let parser = XMLParser(data: Data(source.utf8))
    parser.delegate = self
    try #require(parser.parse(), "line \(parser.lineNumber): \(String(describing: parser.parserError))")
  }

  func text(of name: String) -> [String] { elements.filter { $0.name == name }.map(\.text) }

  func attributes(of name: String?, named key: String) -> [String] {
    elements.filter { name == nil || $0.name == name }.compactMap { $0.attributes[key] }
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    open.append(elements.count)
    elements.append((name, attributes, ""))
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) {
    for index in open { elements[index].text += text }
  }

  func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
    open.removeLast()
  }
}
