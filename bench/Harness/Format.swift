import Foundation

/// Numbers as tables show them.
public enum Format {
  public static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

  /// Three significant digits or so: 0.123, 1.23, 12.3, 123, 1234.
  public static func number(_ value: Double) -> String {
    fixed(value, abs(value) >= 100 ? 0 : abs(value) >= 10 ? 1 : abs(value) >= 1 ? 2 : 3)
  }

  /// 45 s, 12 min or 2.5 h.
  public static func duration(_ seconds: Double) -> String {
    seconds < 90
      ? "\(fixed(seconds, 0)) s" : seconds < 5400 ? "\(fixed(seconds / 60, 0)) min" : "\(fixed(seconds / 3600, 1)) h"
  }

  public static func share(_ spread: Spread?) -> String { spread.map { fixed($0.median, 2) } ?? "-" }

  public static func mebibytes(_ bytes: Int) -> String { "\((bytes + (1 << 19)) >> 20)" }
}

/// A table with a header, for terminals or as Markdown. Columns but the first `textColumns` are aligned right.
public struct TextTable {
  public var header: [String]
  public var rows: [[String]] = []
  public var textColumns: Int

  public init(_ header: [String], textColumns: Int = 1) {
    self.header = header
    self.textColumns = textColumns
  }

  public var aligned: String {
    let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
    return ([header] + rows).map { line($0, widths) }.joined(separator: "\n")
  }

  /// One row under given widths.
  public func line(_ cells: [String], _ widths: [Int]) -> String {
    let padded = cells.enumerated().map { column, cell in
      let space = String(repeating: " ", count: max(0, widths[column] - cell.count))
      return column < textColumns ? cell + space : space + cell
    }
    var line = padded.joined(separator: "  ")
    while line.last == " " { line.removeLast() }
    return line
  }

  public var markdown: String {
    let rule = header.indices.map { $0 < textColumns ? "---" : "---:" }
    return ([header, rule] + rows).map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}
