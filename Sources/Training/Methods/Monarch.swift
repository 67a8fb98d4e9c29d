import KilnKernels
import KilnLayers

/// Monarch matrices (Dao et al., arXiv 2204.00595): a projection is P L P' R with L and R block-diagonal, in `blocks` blocks
/// each, and P the permutation that deals rows out: R mixes neighbours, L what lies `blocks` apart. As two sparse weights,
/// R keeps its blocks and P L P' single elements.
public struct Monarch: SparsityMethod {
  /// Nil for the divisor nearest to the root of the inputs.
  public var blocks: Int?

  public init(blocks: Int? = nil) { self.blocks = blocks }

  public var layerDensity: LayerDensity { .uniform }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns { try forms(choice).patterns }

  public func forms(_ choice: PatternChoice) throws(KilnError) -> WeightForms {
    var forms = WeightForms()
    for layer in choice.layers {
      let blocks = try blocks(of: layer)
      let width = layer.columns / blocks
      let first = try SparsePattern(
        .blocks(rows: width, columns: width), rows: layer.columns, columns: layer.columns, count: blocks)
      first.keep((0..<blocks).map { $0 * blocks + $0 })
      forms.first[layer.name] = first
      let second = try SparsePattern(
        .blocks(rows: 1, columns: 1), rows: layer.rows, columns: layer.columns, count: layer.rows * width)
      second.keep(
        (0..<layer.rows).flatMap { row in
          stride(from: row % blocks, to: layer.columns, by: blocks).map { row * layer.columns + $0 }
        })
      forms.patterns[layer.name] = second
    }
    return forms
  }

  private func blocks(of layer: PatternChoice.Layer) throws(KilnError) -> Int {
    func fits(_ count: Int) -> Bool {
      layer.columns % count == 0 && layer.rows % count == 0 && layer.columns / count <= 256
    }
    let root = Double(layer.columns).squareRoot()
    let found = blocks ?? (1...layer.columns).filter(fits).min { abs(Double($0) - root) < abs(Double($1) - root) }
    guard let found, fits(found) else {
      throw KilnError(
        .argument,
        "'\(layer.name)' of \(layer.rows) x \(layer.columns) cannot be cut into \(found ?? 1) blocks of at most 256",
        hint: "choose --monarch-blocks among the divisors of both")
    }
    return found
  }
}
