/// Two results side by side.
public enum Difference {
  /// Each contender of each case that both have: times, shares, and how they changed; marked where the spreads do not
  /// overlap.
  public static func table(_ a: Results, _ b: Results) -> TextTable {
    var table = TextTable(["case", "by", "ms A", "ms B", "B / A", "share A", "share B", ""], textColumns: 2)
    let before = Dictionary(a.cases.map { ($0.key, $0) }, uniquingKeysWith: { $1 })
    for item in b.cases {
      guard let old = before[item.key] else { continue }
      for entry in item.contenders {
        guard let new = entry.seconds, let earlier = old[entry.name], let was = earlier.seconds else { continue }
        table.rows.append([
          item.key, entry.name, Format.number(was.median * 1e3), Format.number(new.median * 1e3),
          Format.fixed(new.median / was.median, 3), Format.share(earlier.share), Format.share(entry.share),
          new.low > was.high ? "slower" : new.high < was.low ? "faster" : "",
        ])
      }
    }
    return table
  }
}
