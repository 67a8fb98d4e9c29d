/// Results as tables: in a terminal while they come, or as Markdown.
public enum Report {
  static let header = ["case", "by", "ms", "from .. to", "rate", "share", "of", "Kiln is", "others"]

  /// The rows of a case, one for each contender, without further figures.
  static func rows(_ item: CaseResult) -> [[String]] {
    item.contenders.enumerated().map { index, entry in
      let name = index == 0 ? item.name : ""
      guard let seconds = entry.seconds else {
        return [name, entry.name] + Array(repeating: "", count: header.count - 2)
      }
      let rate = item.cost.unit.map { "\(Format.number(item.cost.rate(seconds: seconds.median) / 1e9)) \($0)" }
      return [
        name, entry.name, Format.number(seconds.median * 1e3),
        "\(Format.number(seconds.low * 1e3)) .. \(Format.number(seconds.high * 1e3))", rate ?? "-",
        Format.share(entry.share), entry.share == nil ? "" : bound(item),
        entry.ratio.map { "\(Format.fixed($0.median, 2))x" } ?? "",
        index == 0 ? item.foreignLoad.map { Format.fixed($0, 2) } ?? "?" : "",
      ]
    }
  }

  /// Which ceiling the share is of.
  static func bound(_ item: CaseResult) -> String {
    let (flops, bytes) = (item.ceiling.flops, item.ceiling.bytes)
    let arithmetic = flops > 0 ? item.cost.flops / flops : 0
    return bytes > 0 && item.cost.bytes / bytes > arithmetic ? "bandwidth" : item.unit.rawValue
  }

  /// What does not fit a column: figures, and why a contender has none.
  static func remarks(_ item: CaseResult) -> [String] {
    let figures = item.figures.map { "\($0.name) \(Format.number($0.value)) \($0.unit)" }
    let missing = item.contenders.compactMap { entry in entry.unavailable.map { "\(entry.name): not available: \($0)" }
    }
    let notes = item.contenders.compactMap { entry in entry.note.map { "\(entry.name): \($0)" } }
    return (figures.isEmpty ? [] : [figures.joined(separator: ", ")]) + missing + notes
  }

  /// The lines of one case, under the widths of `liveHeader`.
  public static func live(_ item: CaseResult, nameWidth: Int) -> String {
    let table = TextTable(header, textColumns: 2)
    let lines = rows(item).map { table.line($0, widths(nameWidth)) }
    return (lines + remarks(item).map { "    " + $0 }).joined(separator: "\n")
  }

  public static func liveHeader(nameWidth: Int) -> String {
    TextTable(header, textColumns: 2).line(header, widths(nameWidth))
  }

  private static func widths(_ nameWidth: Int) -> [Int] { [max(nameWidth, 4), 13, 8, 20, 14, 5, 9, 7, 6] }

  public static func ceilings(_ results: [CeilingResult]) -> TextTable {
    var table = TextTable(["ceiling", "threads", "median", "from .. to", ""], textColumns: 1)
    for item in results {
      guard let rate = item.rate else {
        let instead = item.name == ComputeUnit.dpbf16.rawValue ? ": bf16 is held against fma" : ""
        table.rows.append([item.name, "\(item.threads)", "none", "", "this CPU lacks it" + instead])
        continue
      }
      table.rows.append([
        item.name, "\(item.threads)", "\(Format.number(rate.median / 1e9)) \(item.unit)",
        "\(Format.number(rate.low / 1e9)) .. \(Format.number(rate.high / 1e9))", item.note ?? "",
      ])
    }
    return table
  }

  public static func totals(_ totals: [Total]) -> TextTable {
    var table = TextTable(["total, time-weighted", "by", "rate", "share", "Kiln is"], textColumns: 2)
    table.rows = totals.map { total in
      [
        total.name, total.contender, "\(Format.number(total.rate / 1e9)) \(total.unit)",
        total.share.map { Format.fixed($0, 3) } ?? "-", total.ratio.map { "\(Format.fixed($0, 2))x" } ?? "",
      ]
    }
    return table
  }

  /// The machine and the sources in one line.
  public static func heading(_ results: Results) -> String {
    let machine = results.machine
    return "\(machine.cpu), \(machine.threads) of \(machine.cpus) CPUs, \(machine.isa), \(machine.caches), "
      + "\(machine.memoryBytes >> 30) GiB, \(machine.system), \(results.date), commit \(results.commit)"
      + (results.dirty ? " with changes" : "")
  }

  /// Everything as Markdown, for a README.
  public static func markdown(_ results: Results) -> String {
    var parts = [heading(results) + ".", ceilings(results.ceilings).markdown]
    let totals = totals(Total.of(results.cases))
    if !totals.rows.isEmpty { parts.append(totals.markdown) }
    var families: [String] = []
    for item in results.cases where !families.contains(item.family) { families.append(item.family) }
    for family in families {
      let cases = results.cases.filter { $0.family == family }
      var table = TextTable(header + ["further"], textColumns: 2)
      for item in cases {
        let remarks = remarks(item).joined(separator: "; ")
        table.rows += rows(item).enumerated().map { $1 + [$0 == 0 ? remarks : ""] }
      }
      parts.append("**\(family)**\n\n" + table.markdown)
    }
    return parts.joined(separator: "\n\n")
  }
}
