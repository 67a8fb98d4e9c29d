import Foundation
import KilnCheckpoints
import KilnKernels
import KilnLayers

/// What would have been kept at each look at a model in training; a file of an early ticket's folder.
struct TicketLooks: Codable {
  /// Of heads or neurons of one layer.
  struct Layer: Codable {
    let kind: Units.Kind
    let of: Int
    let kept: [Int]
  }

  struct Look: Codable {
    let step: Int
    let kept: [Layer]
    /// From each of the looks before, the newest first: the share of heads or of neurons, whichever is larger, that one
    /// has and the other has not.
    let distances: [Double]
  }

  private var looks: [Look] = []
  /// The step when the ticket was drawn.
  var drawn: Int?

  init() {}

  init(at url: URL) throws(KilnError) {
    guard let data = try? Data(contentsOf: url), let found = try? JSONDecoder().decode(Self.self, from: data) else {
      throw KilnError(.file, "'\(url.path)' cannot be read")
    }
    self = found
  }

  func write(to url: URL) throws(KilnError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    guard let data = try? encoder.encode(self) else { return }
    try AtomicFile.write(data, to: url)
  }

  var last: Look? { looks.last }

  /// Of the last look from those before, as far back as counts.
  var distances: [Double] { looks.last?.distances ?? [] }

  /// Adds a look; of a run that has gone back, in place of those from there on.
  mutating func append(_ kept: [Layer], afterStep step: Int) {
    looks.removeAll { $0.step >= step }
    let before = looks.suffix(EarlyBird.window - 1).reversed()
    looks.append(Look(step: step, kept: kept, distances: before.map { Self.distance($0.kept, kept) }))
  }

  private static func distance(_ a: [Layer], _ b: [Layer]) -> Double {
    Units.Kind.allCases.map { kind in
      let pairs = zip(a, b).filter { $0.0.kind == kind }
      let all = pairs.reduce(0) { $0 + $1.0.of }
      let differing = pairs.reduce(0) { $0 + Set($1.0.kept).symmetricDifference($1.1.kept).count }
      return Double(differing) / Double(max(all, 1))
    }.max() ?? 0
  }
}
