// The page of a report: what stands where. How it looks is `reportStyle`.

import Foundation

struct ReportPage {
  /// What it is of.
  var kind = "Kiln training run"
  var title: String
  var tiles: [Tile]
  var charts: [SVGChart]
  var rows: [RunSummary.Row]
  var sample: String?

  /// One key figure; a dash where it is not known.
  struct Tile {
    var name: String
    var value: String
    var note: String

    init(_ name: String, _ value: String?, note: String) {
      self.name = name
      self.value = value ?? "–"
      self.note = note
    }
  }

  var html: String {
    """
    <!DOCTYPE html>
    <html lang="en" xmlns="http://www.w3.org/1999/xhtml">
    <head>
    <meta charset="utf-8"/>
    <meta name="viewport" content="width=device-width, initial-scale=1"/>
    <meta name="color-scheme" content="light dark"/>
    <title>\(escaped(title)) · Kiln</title>
    <style>
    \(reportStyle)
    </style>
    </head>
    <body>
    <header><p>\(escaped(kind))</p><h1>\(escaped(title))</h1></header>
    <main>
    \(tileList)
    \(chartGrid)
    \(table)
    \(sampleText)
    </main>
    </body>
    </html>

    """
  }

  private var tileList: String {
    let items = tiles.map { tile in
      "<div><dt>\(escaped(tile.name))</dt><dd>\(value(tile.value)) <small>\(escaped(tile.note))</small></dd></div>"
    }
    return "<dl class=\"tiles\">\n\(items.joined(separator: "\n"))\n</dl>"
  }

  /// The number large, its unit after it small.
  private func value(_ text: String) -> String {
    let parts = text.split(separator: " ", maxSplits: 1).map { escaped(String($0)) }
    guard parts.count == 2, parts[1].first?.isLetter == true else { return "<b>\(escaped(text))</b>" }
    return "<b>\(parts[0])<i> \(parts[1])</i></b>"
  }

  private var chartGrid: String {
    let figures = charts.map(\.figure).filter { !$0.isEmpty }
    guard !figures.isEmpty else { return "<p class=\"empty\">No step has been trained.</p>" }
    return "<section class=\"charts\" aria-label=\"Charts over the steps\">\n"
      + figures.joined(separator: "\n") + "\n</section>"
  }

  private var table: String {
    guard !rows.isEmpty else { return "" }
    let lines = rows.map { "<tr><th scope=\"row\">\(escaped($0.name))</th><td>\(escaped($0.value))</td></tr>" }
    return "<section class=\"run\"><h2>The run</h2>\n<table>\n\(lines.joined(separator: "\n"))\n</table></section>"
  }

  private var sampleText: String {
    guard let sample else { return "" }
    return "<section><h2>Sample</h2>\n<pre>\(escaped(sample))</pre></section>"
  }
}

/// Text as it may stand in HTML and XML, in elements and attributes. Control characters, which XML has no way to hold,
/// become their pictures (U+2400 and on).
func escaped(_ text: String) -> String {
  var result = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": result += "&amp;".unicodeScalars
    case "<": result += "&lt;".unicodeScalars
    case ">": result += "&gt;".unicodeScalars
    case "\"": result += "&quot;".unicodeScalars
    case "\t", "\n", "\r": result.append(scalar)
    case "\u{0}"..."\u{1F}": result.append(Unicode.Scalar(0x2400 + scalar.value) ?? "\u{FFFD}")
    case "\u{FFFE}", "\u{FFFF}": result.append("\u{FFFD}")
    default: result.append(scalar)
    }
  }
  return String(result)
}
