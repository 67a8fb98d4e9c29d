/// Cases that belong together as one: all their work over all their time.
public struct Total: Hashable, Sendable {
  public var name: String
  public var contender: String
  public var rate: Double
  public var unit: String
  /// Time-weighted: the least time that the machine could take over the time taken.
  public var share: Double?
  /// Over the first contender's time; nil for the first.
  public var ratio: Double?

  /// The totals of the results, in their order. A contender that lacks a case of a total has none.
  public static func of(_ cases: [CaseResult]) -> [Total] {
    var names: [String] = []
    for item in cases { if let name = item.total, !names.contains(name) { names.append(name) } }
    return names.flatMap { name in totals(name, cases.filter { $0.total == name }) }
  }

  private static func totals(_ name: String, _ cases: [CaseResult]) -> [Total] {
    let contenders = cases[0].contenders.map(\.name)
    var firstSeconds: Double?
    return contenders.compactMap { contender in
      let parts = cases.compactMap { item in
        item[contender].flatMap { entry in entry.seconds.map { (item, entry, $0.median) } }
      }
      guard parts.count == cases.count else { return nil }
      let seconds = parts.reduce(0) { $0 + $1.2 }
      let ideal = parts.reduce(0) { $0 + ($1.1.share?.median ?? .nan) * $1.2 }
      let work = parts.reduce(0) { $0 + $1.0.cost.rate(seconds: 1) }
      defer { firstSeconds = firstSeconds ?? seconds }
      return Total(
        name: name, contender: contender, rate: work / seconds, unit: cases[0].cost.unit ?? "",
        share: ideal.isNaN ? nil : ideal / seconds, ratio: firstSeconds.map { seconds / $0 })
    }
  }
}
