import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// Steps and runs of models with sparse weights.
struct SparseTrainingTests: TinyRuns {
  private typealias Format = SparsePattern.Format

  /// The gradients of a model with sparse weights are those of the dense model with zeros, where weights are kept.
  @Test(
    arguments: ["gpt2-tiny", "llama-tiny"], [Precision.fp32, .bf16, .int8])
  func gradientsAreThoseOfTheDenseModel(_ name: String, _ precision: Precision) throws {
    let golden = try Golden.load(name)
    let context = try Context(threads: 2)
    let (whole, files) = try ModelFiles.open(Golden.folder(name).path)
    // Blocks are multiplied as they are, single elements at this share as a dense matrix.
    for format in [Format.blocks(rows: 4, columns: 8), .blocks(rows: 1, columns: 1), .groups(kept: 2, of: 4)] {
      var patterns: SparsePatterns = [:]
      for (seed, parameter) in whole.parameters.filter({ $0.projection != nil }).enumerated() {
        let shape = parameter.outputsByInputs(Tensor(parameter.shape, .float32, in: nil)).shape
        patterns[parameter.name] = try pattern(format, shape[0], shape[1], seed: UInt64(seed + 1))
      }
      let sparse = whole.configuration.makeModel(WeightForms(patterns: patterns))
      let (store, dense) = (ParameterStore(), ParameterStore())
      try ModelFiles.load(sparse, from: files, into: store, access: .copied, context: context)
      try ModelFiles.load(whole, from: files, into: dense, access: .copied, context: context)
      for parameter in sparse.parameters {
        guard let pattern = parameter.type.pattern else { continue }
        let full = try dense.tensor(try #require(whole.parameters.first { $0.name == parameter.name }))
        try context.scatter(parameter.outputsByInputs(full), from: store.tensor(parameter), pattern)
      }
      let expected = try gradients(whole, dense, golden, precision, context)
      let found = try gradients(sparse, store, golden, precision, context)
      #expect(abs(found.loss - expected.loss) < (precision == .fp32 ? 1e-5 : 1e-2))
      for parameter in sparse.parameters {
        var reference = try #require(expected.gradients[parameter.name])
        if let pattern = parameter.type.pattern {
          let values = try Tensor(zeros: pattern.valuesShape)
          try context.gather(values, from: parameter.outputsByInputs(reference), pattern)
          reference = values
        }
        let error = try relativeError(#require(found.gradients[parameter.name]).floats(), reference.floats())
        #expect(error < (precision == .fp32 ? 2e-5 : 0.1), "\(parameter.name) \(format)")
      }
    }
  }

  private func gradients(
    _ model: any LanguageModel, _ store: ParameterStore, _ golden: Golden, _ precision: Precision, _ context: Context
  ) throws -> (loss: Double, gradients: [String: Tensor]) {
    let graph = Graph(precision: precision)
    let (batch, time) = (golden.runs[0].batch, golden.context)
    let loss = try model.loss(in: graph, batch: batch, time: time, mode: .training(dropout: 0))
    let gradients = try graph.gradients(of: [(loss, graph.unit)], for: model.parameters)
    let plan = try Planner(context: context).plan(graph, outputs: [loss] + gradients.values)
    let session = try Session(plan, context: context, store: store)
    session.set(
      tokens: Array(golden.tokens[0..<batch * time]), targets: Array(golden.tokens[1...batch * time]), time: time,
      lossScale: 1 / Double(batch * time))
    try session.run()
    let tensors = gradients.map { ($0.key.name, session.tensor(of: $0.value)) }
    return (session.tensor(of: loss).scalar, Dictionary(uniqueKeysWithValues: tensors))
  }

  private func pattern(_ format: Format, _ rows: Int, _ columns: Int, seed: UInt64) throws -> SparsePattern {
    guard case .blocks = format else {
      return try SparsePattern(format, rows: rows, columns: columns, count: rows * columns / 2)
    }
    let size = format.blocks(rows: rows, columns: columns)
    let chance = pseudoRandom(size.rows * size.columns, seed: seed)
    let kept = chance.indices.filter { chance[$0] < 0 }
    let pattern = try SparsePattern(format, rows: rows, columns: columns, count: kept.count)
    pattern.keep(kept)
    return pattern
  }

  /// With everything kept a run is that of the dense model but for the order of sums.
  @Test func everythingKeptIsDense() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      let dense = try train(configuration, out: folder.appendingPathComponent("dense"))
      (configuration.sparsity, configuration.density) = (.random, 1)
      let sparse = try train(configuration, out: folder.appendingPathComponent("sparse"))
      for (a, b) in zip(dense, sparse) { #expect(abs(a.loss - b.loss) < 1e-4) }
    }
  }

  struct Variant: Sendable, CustomTestStringConvertible {
    var sparsity: TrainingConfiguration.Sparsity
    var block: SparsePattern.Format = .blocks(rows: 1, columns: 1)
    var change: @Sendable (inout TrainingConfiguration) -> Void = { _ in }
    var testDescription: String { "\(sparsity.rawValue) \(block)" }
  }

  static let variants: [Variant] = [
    Variant(sparsity: .snip), Variant(sparsity: .set) { $0.optimizer = .lion },
    Variant(sparsity: .rigl, block: .blocks(rows: 4, columns: 16)) { $0.microBatch = 2 },
    Variant(sparsity: .rigl) { ($0.precision, $0.master, $0.gradClip) = (.bf16, .kahan, 0) },
    Variant(sparsity: .rigl, block: .groups(kept: 2, of: 4)) { ($0.precision, $0.optimizerState) = (.fp16, .eightBit) },
    Variant(sparsity: .rigl, block: .blocks(rows: 16, columns: 16)) {
      ($0.recompute, $0.compressActivations) = (.every(1), .uniform(4))
    },
    Variant(sparsity: .grasp, block: .blocks(rows: 16, columns: 16)) {
      ($0.offload, $0.precision) = ([.optimizer], .int8)
    },
    Variant(sparsity: .pixelfly, block: .blocks(rows: 16, columns: 16)) { $0.rank = 4 },
    Variant(sparsity: .topKAST, block: .blocks(rows: 16, columns: 16)) { $0.backwardDensity = 0.6 },
    Variant(sparsity: .topKAST) { ($0.precision, $0.optimizerState, $0.microBatch) = (.bf16, .eightBit, 2) },
    Variant(sparsity: .topKAST) { ($0.precision, $0.density, $0.backwardDensity) = (.int8, 0.2, 0.5) },
    Variant(sparsity: .monarch) { ($0.precision, $0.monarchBlocks) = (.bf16, 6) },
    Variant(sparsity: .magnitude) { ($0.offload, $0.optimizer) = ([.states, .activations], .lamb) },
  ]

  /// A run that stops and goes on, with other threads, has the same bits, patterns included.
  @Test(arguments: variants) func runsGoOnExactly(_ variant: Variant) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 9)
      (configuration.sparsity, configuration.block) = (variant.sparsity, variant.block)
      if variant.sparsity.isFixed {
        configuration.block = variant.sparsity == .monarch ? nil : variant.block
      } else if case .blocks = variant.block {
        configuration.density = 0.3
      }
      if variant.sparsity.isDynamic {
        configuration.patternEvery = 2
        configuration.patternUntil = variant.sparsity == .topKAST ? nil : 0.9
      }
      variant.change(&configuration)
      let whole = try trainInParts(configuration, in: folder)
      // What was saved is sparse, as said.
      let model = try ModelFiles.open(whole.path).model
      let patterns = model.parameters.compactMap(\.type.pattern)
      if variant.sparsity == .monarch {
        #expect(patterns.count == 16)
        return
      }
      #expect(patterns.count == 8 && patterns.allSatisfy { $0.format == variant.block })
      let kept = patterns.reduce(0) { $0 + $1.count * $1.format.area }
      let all = patterns.reduce(0) { $0 + $1.rows * $1.columns }
      if variant.sparsity.isFixed { return }
      if variant.sparsity == .topKAST {
        let active = patterns.reduce(0) { $0 + ($1.active?.count ?? 0) * $1.format.area }
        #expect(abs(Double(active) / Double(all) - (configuration.density ?? 0)) < 0.05)
        return
      }
      let share = variant.block == .groups(kept: 2, of: 4) ? 0.5 : 0.3
      #expect(abs(Double(kept) / Double(all) - share) < 0.05)
    }
  }

  /// Masked weights stay dense; what is saved has zeros where products take nothing, and what is gone on from has not.
  @Test(arguments: [
    Variant(sparsity: .ste), Variant(sparsity: .srSTE, block: .groups(kept: 1, of: 4)) { $0.microBatch = 2 },
    Variant(sparsity: .srSTE) { ($0.precision, $0.master) = (.bf16, .kahan) },
    Variant(sparsity: .srSTE) { ($0.precision, $0.offload) = (.int8, [.optimizer]) },
  ]) func maskedRunsGoOnExactly(_ variant: Variant) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 9)
      configuration.sparsity = variant.sparsity
      if case .groups = variant.block { configuration.block = variant.block }
      variant.change(&configuration)
      let whole = try trainInParts(configuration, in: folder)
      let files = try PretrainedDirectory(whole)
      let kept = if case .groups(let kept, _) = variant.block { kept } else { 2 }
      for parameter in try ModelFiles.open(whole.path).model.parameters where parameter.projection != nil {
        let stored = try #require(files.tensors[parameter.name])
        let rows = parameter.outputsByInputs(try ModelFiles.mappedTensor(stored))
        let wide = try Tensor(zeros: rows.shape)
        try Context().copy(wide, rows)
        let values = wide.floats()
        for start in stride(from: 0, to: values.count, by: 4) {
          #expect(values[start..<start + 4].count { $0 != 0 } <= kept)
        }
      }
    }
  }

  /// SR-STE's pull takes weights towards 0 that are not taken.
  @Test func theDecayIsAPartOfTheGradient() throws {
    let context = try Context(threads: 1)
    let mask = GroupMask(kept: 2, of: 4, decay: 0.5)
    let weight = Parameter("w", [8, 3], projection: .init(splitsColumns: true, mask: mask))
    let store = ParameterStore()
    let values = pseudoRandom(24, seed: 3).map(Float.init)
    try store.tensor(weight).copy(from: values)
    let graph = Graph()
    let y = try graph.record(
      Project(transposedWeight: false), [graph.input("x", TensorType([5, 8])), graph.weight(weight)])[0]
    let dw = try #require(try graph.gradients(of: [(y, graph.input("dy", y.type))], for: [weight])[weight])
    let session = try Session(
      Planner(context: context).plan(graph, outputs: [y, dw]), context: context, store: store)
    let (x, dy) = (pseudoRandom(40, seed: 1).map(Float.init), pseudoRandom(15, seed: 2).map(Float.init))
    session.input("x")?.copy(from: x)
    session.input("dy")?.copy(from: dy)
    session.input("penalty_scale")?.scalar = 0.5
    try session.run()
    for k in 0..<8 {
      for n in 0..<3 {
        let group = (k / 4 * 4..<k / 4 * 4 + 4).sorted { abs(values[$0 * 3 + n]) > abs(values[$1 * 3 + n]) }
        let straight = (0..<5).reduce(Float(0)) { $0 + x[$1 * 8 + k] * dy[$1 * 3 + n] }
        let expected = group.prefix(2).contains(k) ? straight : straight + 0.25 * values[k * 3 + n]
        #expect(abs(session.tensor(of: dw).floats()[k * 3 + n] - expected) < 1e-5)
      }
    }
  }

  /// Top-KAST: products take the active part alone, all that is kept has gradients, with what pulls them.
  @Test(arguments: [Precision.fp32, .bf16]) func thePartHasTheGradientsOfTheWhole(_ precision: Precision) throws {
    let context = try Context(threads: 2)
    let pattern = try SparsePattern(.blocks(rows: 16, columns: 16), rows: 64, columns: 64, count: 8, active: 4)
    pattern.keep([0, 3, 5, 6, 9, 10, 12, 15])
    pattern.active?.keep([0, 6, 9, 15])
    pattern.decay = 0.1
    let weight = Parameter("w", TensorType(pattern))
    let store = ParameterStore()
    let values = pseudoRandom(8 * 256, seed: 1).map(Float.init)
    try store.tensor(weight).copy(from: values)
    let graph = Graph(precision: precision)
    let x = graph.input("x", TensorType([32, 64], precision.dtype))
    let y = try Project(transposedWeight: true).record(in: graph, [x, graph.weight(weight)], narrow: nil)
    let dy = graph.input("dy", y.type)
    let dw = try #require(try graph.gradients(of: [(y, dy)], for: [weight])[weight])
    #expect(dw.shape == [8, 256] && dw.type.dtype == .float32)
    let session = try Session(Planner(context: context).plan(graph, outputs: [y, dw]), context: context, store: store)
    func random(_ seed: UInt64, _ input: String) throws -> [Float] {
      let numbers = pseudoRandom(32 * 64, seed: seed).map { Float(($0 * 64).rounded() / 64) }
      try context.copy(try #require(session.input(input)), try Tensor(numbers, [32, 64]))
      return numbers
    }
    let (xs, dys) = try (random(2, "x"), random(3, "dy"))
    try session.run()
    let (result, gradient) = (try Tensor(zeros: [32, 64]), session.tensor(of: dw).floats())
    try context.copy(result, session.tensor(of: y))
    let tolerance: Float = precision == .fp32 ? 1e-4 : 0.1
    for place in stride(from: 0, to: 32 * 64, by: 7) {
      let (m, n) = (place / 64, place % 64)
      var sum: Float = 0
      for (block, at) in pattern.kept.enumerated() where pattern.active!.kept.contains(at) && at / 4 == n / 16 {
        for k in 0..<16 { sum += values[block * 256 + n % 16 * 16 + k] * xs[m * 64 + at % 4 * 16 + k] }
      }
      #expect(abs(result.floats()[place] - sum) < tolerance)
    }
    for element in stride(from: 0, to: gradient.count, by: 5) {
      let at = pattern.kept[element / 256]
      let (n, k) = (at / 4 * 16 + element % 256 / 16, at % 4 * 16 + element % 16)
      let straight = (0..<32).reduce(Float(0)) { $0 + dys[$1 * 64 + n] * xs[$1 * 64 + k] }
      let pull: Float = pattern.active!.kept.contains(at) ? 0.1 : 0.1 / 0.25
      #expect(abs(gradient[element] - straight - pull * values[element]) < tolerance)
    }
  }

  /// A product with two Monarch factors is one with P L P' R made by hand: what the patterns say.
  @Test func monarchMixesNeighboursThenWhatLiesApart() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      (configuration.sparsity, configuration.monarchBlocks) = (.monarch, 6)
      let inputs = try Inputs(configuration, resuming: nil, kernels: Context())
      let name = "transformer.h.0.mlp.c_fc.weight"
      let first = try #require(inputs.model.parameters.first { $0.name == name + ".first" }?.type.pattern)
      let second = try #require(inputs.model.parameters.first { $0.name == name }?.type.pattern)
      #expect((first.rows, first.columns, first.count) == (48, 48, 6) && first.format == .blocks(rows: 8, columns: 8))
      let (r, l) = (
        first.masking([Float](repeating: 1, count: 48 * 48)), second.masking([Float](repeating: 1, count: 192 * 48))
      )
      for row in 0..<48 { for column in 0..<48 { #expect((r[row * 48 + column] == 1) == (row / 8 == column / 8)) } }
      for row in 0..<192 { for column in 0..<48 { #expect((l[row * 48 + column] == 1) == (row % 6 == column % 6)) } }
    }
  }

  /// Patterns change, and the loss falls.

  @Test(arguments: [TrainingConfiguration.Sparsity.set, .rigl]) func patternsChange(
    _ sparsity: TrainingConfiguration.Sparsity
  ) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 40)
      (configuration.sparsity, configuration.density, configuration.patternEvery) = (sparsity, 0.3, 10)
      func patterns(_ steps: Int) throws -> [[Int]] {
        let out = folder.appendingPathComponent("\(steps)")
        configuration.steps = 40
        _ = try train(configuration, out: out, stopAfter: steps)
        let folder = try #require(try TrainingConfiguration.resume(out).folder)
        return try ModelFiles.open(folder.path).model.parameters.compactMap { $0.type.pattern?.kept }
      }
      let (early, late) = try (patterns(9), patterns(12))
      #expect(early.count == 8 && zip(early, late).allSatisfy { $0 != $1 })
      let losses = try train(configuration, out: folder.appendingPathComponent("all")).map(\.loss)
      #expect(losses.last! < losses[0] - 1)
    }
  }

  /// Weights and states take what is kept of them.
  @Test func memoryIsThatOfWhatIsKept() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      (configuration.width, configuration.heads, configuration.layers, configuration.vocabSize) = (256, 4, 4, 256)
      let dense = try TrainingPlanner().plan(configuration).memory
      (configuration.sparsity, configuration.density, configuration.block) = (
        .rigl, 0.1, .blocks(rows: 16, columns: 16)
      )
      let sparse = try TrainingPlanner().plan(configuration).memory
      let projections = 4 * 12 * 256 * 256 * 4
      #expect(abs(dense[.weights] - sparse[.weights] - projections * 9 / 10) < 100_000)
      #expect(abs(dense[.states] - sparse[.states] - 2 * projections * 9 / 10) < 100_000)
    }
  }

  @Test(arguments: [
    ("columns", "names places that are not there"), ("offsets", "lacks"), ("values", "not blocks"),
  ]) func filesThatDoNotFitAreRefused(_ part: String, _ message: String) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 1)
      (configuration.sparsity, configuration.block) = (.random, .blocks(rows: 16, columns: 16))
      let out = folder.appendingPathComponent("out")
      _ = try train(configuration, out: out)
      let model = try ModelFiles.open(out.path).model
      let victim = try #require(model.parameters.first { $0.type.pattern != nil })
      let files = try PretrainedDirectory(out)
      var tensors = files.tensors.values.map(\.description)
      if part == "offsets" { tensors.removeAll { $0.name == victim.name + ".offsets" } }
      if part == "values" {
        tensors = tensors.map {
          $0.name == victim.name ? .init(name: $0.name, type: $0.type, shape: [$0.shape.count]) : $0
        }
      }
      let contents = Dictionary(
        uniqueKeysWithValues: files.tensors.map { name, stored in
          (name, stored.withBytes { $0.withUnsafeBytes { Array($0) } })
        })
      try SafetensorsWriter.writeModel(tensors, in: out) { (description, file) throws(KilnError) in
        var bytes = contents[description.name] ?? []
        if part == "columns", description.name == victim.name + ".columns" { bytes[0] = 200 }
        try file.write(bytes.span.bytes)
      }
      #expect { try ModelFiles.open(out.path) } throws: { ($0 as? KilnError)?.message.contains(message) == true }
    }
  }
}
