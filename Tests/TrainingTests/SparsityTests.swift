import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// How the weights are found that are kept.
struct SparsityTests {
  /// `shared/techniques.md` part 13: ERK at 90 %.
  @Test func erkDensities() throws {
    let shapes = [(64, 64), (64, 256), (256, 64), (64, 10)].map { (rows: $0.0, columns: $0.1) }
    let shares = try #require(LayerDensity.erk.shares(shapes, density: 0.1))
    for (share, expected) in zip(shares, [0.139252, 0.087032, 0.087032, 0.515232]) {
      #expect(abs(share - expected) < 1e-6)
    }
    let full = try #require(LayerDensity.erk.shares([(4, 4), (400, 400)], density: 0.1))
    let kept = full[0] * 16 + full[1] * 160_000
    #expect(full[0] == 1 && abs(kept - 16_002) < 1e-6)
  }

  /// The same part: alpha = 0.3, until step 750.
  @Test func theFractionFallsAsACosine() throws {
    let change = try #require(RigL(every: 100, until: 750).change)
    for (step, expected) in [(0, 0.3), (100, 0.287032), (375, 0.15), (700, 0.003278)] {
      #expect(abs(change.fraction(at: step) - expected) < 1e-6)
    }
    #expect([0, 50, 100, 700, 800].map(change.isDue) == [false, false, true, true, false])
  }

  @Test func selectionIsThatOfSorting() {
    for (count, seed) in [(0, 1), (1, 2), (10, 3), (500, 4), (999, 5), (1000, 6)] as [(Int, UInt64)] {
      // Many are equal.
      let scores = pseudoRandom(1000, seed: seed).map { Float(($0 * 40).rounded()) / 8 }
      let sorted = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
      #expect(Selection.largest(count, of: scores) == sorted.prefix(count).sorted())
    }
    #expect(Selection.largest(2, of: [.nan, -.infinity, 1, -0.0, 0]) == [2, 3])
  }

  private struct Masks: Decodable {
    var names: [String]
    var masks: [String: [String: String]]
  }

  /// What PyTorch keeps of the golden models, by their first batch: `Tests/Golden/sparse`.
  @Test(arguments: ["gpt2-tiny", "llama-tiny"], ["snip", "grasp"]) func masksAreThoseOfPyTorch(
    _ name: String, _ method: String
  ) throws {
    let url = Golden.folder(name).appendingPathComponent("../../sparse/masks.json")
    let all = try JSONDecoder().decode([String: Masks].self, from: Data(contentsOf: url))
    let masks = try #require(all[name])
    let golden = try Golden.load(name)
    try withTemporaryFolder { folder in
      var configuration = TrainingConfiguration()
      configuration.data = [try golden.writeShard(in: folder).path]
      configuration.model = Golden.folder(name).path
      (configuration.context, configuration.batch) = (golden.context, golden.runs[0].batch)
      configuration.order = .sequential
      configuration.sparsity = TrainingConfiguration.Sparsity(rawValue: method)
      let context = try Context(threads: 2)
      for (density, expected) in try #require(masks.masks[method]) {
        configuration.density = Double(density)
        let model = try Inputs(configuration, resuming: nil, kernels: context).model
        let bits = try masks.names.flatMap { name in
          let parameter = try #require(model.parameters.first { $0.name == name })
          let pattern = try #require(parameter.type.pattern)
          return pattern.masking([Float](repeating: 1, count: pattern.rows * pattern.columns)).map { $0 > 0 }
        }
        let other = expected.flatMap { digit in
          (0..<4).reversed().map { (digit.hexDigitValue ?? 0) >> $0 & 1 == 1 }
        }
        #expect(bits.count == other.count)
        // In fp32 scores may change places where they are nearly equal, more so where they are differences.
        let differing = zip(bits, other).count { $0 != $1 }
        #expect(
          differing <= bits.count / (method == "snip" ? 1000 : 200), "\(differing) of \(bits.count) at \(density)")
      }
    }
  }

  /// Magnitudes decide beside zeros; blocks go by their norm, and N:M keeps the largest of each group.
  @Test func magnitudesOfBlocksAndGroups() throws {
    try withTemporaryFolder { folder in
      let golden = try Golden.load("llama-tiny")
      var configuration = TrainingConfiguration()
      configuration.data = [try golden.writeShard(in: folder).path]
      configuration.model = Golden.folder("llama-tiny").path
      configuration.context = golden.context
      configuration.sparsity = .magnitude
      let context = try Context(threads: 1)
      let files = try PretrainedDirectory(Golden.folder("llama-tiny"))
      let name = "model.layers.0.mlp.up_proj.weight"
      let weights = floats(try #require(files.tensors[name]))
      configuration.block = .groups(kept: 2, of: 4)
      let groups = try pattern(of: name, configuration, context)
      for start in stride(from: 0, to: weights.count, by: 4) {
        let kept = groups.kept.filter { (start..<start + 4).contains($0) }
        let order = (start..<start + 4).sorted { abs(weights[$0]) > abs(weights[$1]) }
        #expect(Set(kept) == Set(order.prefix(2)))
      }
      configuration.block = .blocks(rows: 8, columns: 16)
      (configuration.density, configuration.layerDensity) = (0.5, .uniform)
      let blocks = try pattern(of: name, configuration, context)
      #expect(blocks.count == 7)
      func norm(_ row: Int, _ column: Int) -> Float {
        (0..<128).reduce(0) { sum, i in
          let w = weights[(row * 8 + i / 16) * 32 + column * 16 + i % 16]
          return sum + w * w
        }
      }
      let all = (0..<14).sorted { norm($0 / 2, $0 % 2) > norm($1 / 2, $1 % 2) }
      #expect(blocks.kept == all.prefix(7).sorted())
    }
  }

  private func pattern(
    of name: String, _ configuration: TrainingConfiguration, _ context: Context
  ) throws -> SparsePattern {
    let model = try Inputs(configuration, resuming: nil, kernels: context).model
    return try #require(model.parameters.first { $0.name == name }?.type.pattern)
  }

  /// What flows into a unit flows out of it: the scores of its inputs add up to those of its outputs (theorem 2 of the
  /// paper); the signs of weights do not matter.
  @Test(arguments: [
    ("gpt2-tiny", "transformer.h.1.mlp.c_fc.weight", "transformer.h.1.mlp.c_proj.weight"),
    ("llama-tiny", "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight"),
  ]) func flowIsConserved(_ name: String, _ into: String, _ out: String) throws {
    let golden = try Golden.load(name)
    try withTemporaryFolder { folder in
      var configuration = TrainingConfiguration()
      configuration.data = [try golden.writeShard(in: folder).path]
      configuration.model = Golden.folder(name).path
      configuration.context = golden.context
      let context = try Context(threads: 2)
      let inputs = try Inputs(configuration, resuming: nil, kernels: context)
      let probe = try DenseProbe(inputs, configuration, context: context)
      let weights = try SynFlow.magnitudes(probe)
      let gradients = try LinearFlow(probe).gradients(at: weights)
      func scores(_ name: String) -> [Float] { zip(weights[name]!, gradients[name]!).map(*) }
      let (first, second) = (scores(into), scores(out))
      #expect(first.allSatisfy { $0 > 0 } && second.allSatisfy { $0 > 0 })
      if name == "gpt2-tiny" {
        for unit in 0..<128 {
          let entering: Float = first[unit * 32..<unit * 32 + 32].reduce(0, +)
          let leaving: Float = stride(from: unit, to: second.count, by: 128).reduce(0) { $0 + second[$1] }
          #expect(abs(entering / leaving - 1) < 1e-4)
        }
      } else {
        // Queries, keys and values together are what the outputs are made of.
        let parts = ["q_proj", "k_proj", "v_proj"].map { scores(into.replacing("v_proj", with: $0)).reduce(0, +) }
        let (entering, leaving): (Float, Float) = (parts.reduce(0, +), second.reduce(0, +))
        #expect(abs(entering / leaving - 1) < 1e-4)
      }
    }
  }
}
