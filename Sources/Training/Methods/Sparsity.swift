import KilnKernels
import KilnLayers

/// A way to find the sparse network that is trained.
public protocol SparsityMethod: Sendable {
  /// What the weights keep at first.
  func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns

  /// The same with what a method has beside patterns.
  func forms(_ choice: PatternChoice) throws(KilnError) -> WeightForms

  /// How many of a layer's weights are kept, where nobody says.
  var layerDensity: LayerDensity { get }

  /// How patterns change while weights are trained; nil for not at all.
  var change: PatternChange? { get }
}

extension SparsityMethod {
  public var change: PatternChange? { nil }

  public func forms(_ choice: PatternChoice) throws(KilnError) -> WeightForms {
    WeightForms(patterns: try patterns(choice))
  }
}

/// How what is kept in all is shared out among the layers.
public enum LayerDensity: String, Sendable, Hashable, Codable, CaseIterable {
  /// The same share of each.
  case uniform
  /// Erdős–Rényi: a share of each in proportion to (inputs + outputs) / (inputs outputs), at most 1 (Mocanu et al.,
  /// arXiv 1707.04780). For matrices ER and ERK are one.
  case erk
  /// Whatever scores highest, wherever it is.
  case global

  /// Shares of matrices of these sizes, so that `density` of all is kept; nil where scores decide.
  public func shares(_ layers: [(rows: Int, columns: Int)], density: Double) -> [Double]? {
    switch self {
    case .global: return nil
    case .uniform: return layers.map { _ in density }
    case .erk:
      let counts = layers.map { Double($0.rows * $0.columns) }
      let raw = layers.map { Double($0.rows + $0.columns) / Double($0.rows * $0.columns) }
      var isFull = [Bool](repeating: false, count: layers.count)
      while true {
        let open = layers.indices.filter { !isFull[$0] }
        // What the code of RigL counts: each layer rounded up.
        let all = counts.reduce(0) { $0 + $1 - ((1 - density) * $1).rounded(.down) }
        let wanted = all - layers.indices.filter { isFull[$0] }.reduce(0) { $0 + counts[$1] }
        let scale = wanted / open.reduce(0) { $0 + raw[$1] * counts[$1] }
        let over = open.filter { scale * raw[$0] > 1 }
        if over.isEmpty { return layers.indices.map { isFull[$0] ? 1 : scale * raw[$0] } }
        for layer in over { isFull[layer] = true }
      }
    }
  }
}

/// What a method chooses the first patterns from.
public struct PatternChoice {
  /// A projection that is to be sparse.
  public struct Layer {
    let name: String
    let rows, columns: Int
  }

  let layers: [Layer]
  let format: SparsePattern.Format
  let density: Double
  let layerDensity: LayerDensity
  let seed: UInt64
  /// The model before anything is taken away.
  let probe: DenseProbe

  /// The same with another share.
  func keeping(_ density: Double) -> PatternChoice {
    PatternChoice(
      layers: layers, format: format, density: density, layerDensity: layerDensity, seed: seed, probe: probe)
  }

  /// The patterns that keep the blocks of the highest scores, by layer in order of blocks.
  func patterns(keeping scores: [[Float]]) throws(KilnError) -> SparsePatterns {
    var patterns: SparsePatterns = [:]
    for (layer, kept) in zip(layers, chosen(by: scores)) {
      let pattern = try SparsePattern(format, rows: layer.rows, columns: layer.columns, count: kept.count)
      pattern.keep(kept)
      patterns[layer.name] = pattern
    }
    return patterns
  }

  /// The places that each layer keeps.
  private func chosen(by scores: [[Float]]) -> [[Int]] {
    if case .groups(let kept, let group) = format { return scores.map { Self.strongest(kept, of: group, $0) } }
    let sizes = layers.map { format.blocks(rows: $0.rows, columns: $0.columns) }
    let counts: [Int]
    if let shares = layerDensity.shares(layers.map { ($0.rows, $0.columns) }, density: density) {
      counts = zip(sizes, shares).map { max(1, Int((Double($0.rows * $0.columns) * $1).rounded())) }
    } else {
      let all = sizes.reduce(0) { $0 + $1.rows * $1.columns }
      let best = Selection.largest(max(1, Int((Double(all) * density).rounded())), of: scores.flatMap { $0 })
      var (start, at) = (0, 0)
      counts = sizes.map { size in
        let end = start + size.rows * size.columns
        let first = at
        while at < best.count, best[at] < end { at += 1 }
        start = end
        return max(1, at - first)
      }
    }
    return zip(scores, counts).map { Selection.largest($1, of: $0) }
  }

  /// The elements with the highest scores of each group of `group`; of equal ones the first.
  private static func strongest(_ kept: Int, of group: Int, _ scores: [Float]) -> [Int] {
    var result: [Int] = []
    result.reserveCapacity(scores.count / group * kept)
    for start in stride(from: 0, to: scores.count, by: group) {
      let group = start..<start + group
      for place in group {
        let stronger = group.count { scores[$0] > scores[place] || scores[$0] == scores[place] && $0 < place }
        if stronger < kept { result.append(place) }
      }
    }
    return result
  }
}

/// Choosing by scores.
enum Selection {
  /// The places of the largest scores, ascending; of equal ones the first. Scores that are not numbers come last.
  static func largest(_ count: Int, of scores: [Float]) -> [Int] {
    guard count < scores.count else { return Array(scores.indices) }
    guard count > 0 else { return [] }
    // The score of which fewer are above than are wanted, found 16 bits at a time.
    let keys = scores.map(key)
    var above = 0
    func digit(_ shift: UInt32, where matches: (UInt32) -> Bool) -> UInt32 {
      var counts = [Int](repeating: 0, count: 1 << 16)
      for key in keys where matches(key) { counts[Int(key >> shift & 0xFFFF)] += 1 }
      for digit in counts.indices.reversed() {
        if above + counts[digit] >= count { return UInt32(digit) }
        above += counts[digit]
      }
      return 0
    }
    let high = digit(16) { _ in true }
    let least = high << 16 | digit(0) { $0 >> 16 == high }
    var equals = count - above
    var result: [Int] = []
    result.reserveCapacity(count)
    for (place, key) in keys.enumerated() where key >= least {
      if key == least {
        if equals == 0 { continue }
        equals -= 1
      }
      result.append(place)
    }
    return result
  }

  /// A number that orders as the score does.
  private static func key(_ score: Float) -> UInt32 {
    guard !score.isNaN else { return 0 }
    let bits = (score + 0).bitPattern
    return bits >> 31 == 1 ? ~bits : bits | 0x8000_0000
  }
}
