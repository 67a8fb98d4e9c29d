/// Results as tables: in a terminal while they come, or as Markdown.
public enum Report {
  static let header = ["case", "by", "ms", "from .. to", "rate", "share", "of", "Kiln is", "others"]

  /// The rows of a case, one for each contender that has figures; one with the name alone where none has.
  static func rows(_ item: CaseResult) -> [[String]] {
    let measured = item.contenders.filter { $0.seconds != nil }
    guard !measured.isEmpty else { return [[item.name] + Array(repeating: "", count: header.count - 1)] }
    return measured.enumerated().map { index, entry in
      [index == 0 ? item.name : "", entry.name] + figures(item, entry)
        + [index == 0 ? item.foreignLoad.map { Format.fixed($0, 2) } ?? "?" : ""]
    }
  }

  /// From the time to the ratio.
  private static func figures(_ item: CaseResult, _ entry: ContenderResult) -> [String] {
    guard let seconds = entry.seconds else { return [] }
    let rate = item.cost.unit.map { "\(Format.number(item.cost.rate(seconds: seconds.median) / 1e9)) \($0)" }
    return [
      Format.number(seconds.median * 1e3),
      "\(Format.number(seconds.low * 1e3)) .. \(Format.number(seconds.high * 1e3))",
      rate ?? "-", Format.share(entry.share), entry.share == nil ? "" : bound(item),
      entry.ratio.map { "\(Format.fixed($0.median, 2))x" } ?? "",
    ]
  }

  /// Which ceiling the share is of.
  static func bound(_ item: CaseResult) -> String {
    let (flops, bytes) = (item.ceiling.flops, item.ceiling.bytes)
    let arithmetic = flops > 0 ? item.cost.flops / flops : 0
    return bytes > 0 && item.cost.bytes / bytes > arithmetic ? "bandwidth" : item.unit.rawValue
  }

  /// What does not fit a column: figures, notes, and why a contender has none.
  static func remarks(_ item: CaseResult) -> [String] {
    let figures = item.figures.map { "\($0.name) \(Format.number($0.value)) \($0.unit)" }
    let entries = item.contenders.compactMap { entry in
      entry.unavailable.map { "\(entry.name): not available: \($0)" } ?? entry.note.map { "\(entry.name): \($0)" }
    }
    return (figures.isEmpty ? [] : [figures.joined(separator: ", ")]) + entries
  }

  /// The lines of one case, under `liveHeader`. Remarks that were shown already are left out.
  public static func live(_ item: CaseResult, nameWidth: Int, shown: inout Set<String>) -> String {
    let table = TextTable(header, textColumns: 2)
    let lines = rows(item).map { table.line($0, widths(nameWidth)) }
    return (lines + remarks(item).filter { shown.insert($0).inserted }.map { "    " + $0 }).joined(separator: "\n")
  }

  public static func liveHeader(nameWidth: Int) -> String {
    TextTable(header, textColumns: 2).line(header, widths(nameWidth))
  }

  private static func widths(_ nameWidth: Int) -> [Int] { [max(nameWidth, 4), 13, 8, 20, 14, 5, 9, 7, 6] }

  public static func ceilings(_ results: [CeilingResult]) -> TextTable {
    var table = TextTable(["ceiling", "threads", "median", "from .. to", ""], textColumns: 1)
    for item in results {
      guard let rate = item.rate else {
        let instead =
          switch ComputeUnit(rawValue: item.name) {
          case .dpbf16: ": bf16 is held against fma"
          case .dpbusd: ": int8 is held against maddwd"
          default: ""
          }
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
