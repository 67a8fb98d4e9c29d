import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// Learned factors on heads and neurons, and smaller models of those that have the largest.
struct EarlyTicketsTests: TinyRuns {
  struct Variant: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: @Sendable (inout TrainingConfiguration) -> Void

    init(_ name: String, _ change: @escaping @Sendable (inout TrainingConfiguration) -> Void = { _ in }) {
      (testDescription, self.change) = (name, change)
    }
  }

  /// A slimmed run goes on exactly; what it leaves is a dense model.
  @Test(arguments: [
    Variant("micro-batches") { $0.microBatch = 2 },
    Variant("llama") { ($0.arch, $0.kvHeads, $0.width, $0.heads) = (.llama, 2, 64, 4) },
    Variant("bf16, Kahan's sums") { ($0.precision, $0.master) = (.bf16, .kahan) },
    Variant("int8, updates on the host") { ($0.precision, $0.offload) = (.int8, [.optimizer]) },
    Variant("states in 8 bits, recomputed") { ($0.optimizerState, $0.recompute) = (.eightBit, .every(1)) },
  ]) func slimmedRunsGoOnExactly(_ variant: Variant) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 9)
      configuration.slimming = 0.1
      variant.change(&configuration)
      let whole = try trainInParts(configuration, in: folder)
      let files = try PretrainedDirectory(whole)
      #expect(!files.tensors.keys.contains { $0.hasSuffix(".factors") })
      #expect(try ModelFiles.open(whole.path).model.factors.isEmpty)
    }
  }

  /// Penalties weigh the same however the batch is cut and whatever the loss is multiplied by.
  @Test(arguments: [
    Variant("slimming") { $0.slimming = 10 },
    Variant("SR-STE") { ($0.sparsity, $0.maskDecay) = (.srSTE, 10) },
  ]) func penaltiesAreOfTheWholeBatch(_ variant: Variant) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 1)
      configuration.dropout = 0
      let plain = try train(configuration, out: folder.appendingPathComponent("plain"))[0].gradNorm!
      variant.change(&configuration)
      let norm = try train(configuration, out: folder.appendingPathComponent("whole"))[0].gradNorm!
      #expect(norm > 2 * plain)
      configuration.microBatch = 1
      let parts = try train(configuration, out: folder.appendingPathComponent("parts"))[0].gradNorm!
      #expect(abs(parts / norm - 1) < 1e-4)
      configuration.precision = .fp16
      let scaled = try train(configuration, out: folder.appendingPathComponent("fp16"))[0].gradNorm!
      #expect(abs(scaled / norm - 1) < 1e-2)
    }
  }

  /// A model that lacks units computes what the large one does where these give nothing on.
  @Test(arguments: ["gpt2-tiny", "llama-tiny"]) func theSmallModelIsAPartOfTheLargeOne(_ name: String) throws {
    let golden = try Golden.load(name)
    let context = try Context(threads: 2)
    let (large, files) = try ModelFiles.open(Golden.folder(name).path)
    let store = ParameterStore()
    try ModelFiles.load(large, from: files, into: store, access: .copied, context: context)
    let kept = large.units.map { units in
      TicketLooks.Layer(
        kind: units.kind, of: units.count,
        kept: (0..<units.count).filter { units.kind == .neurons ? $0 % 3 != 1 : $0 != units.count / 2 })
    }
    let (small, weights) = try large.keeping(kept, in: store, context: context)
    #expect(small.configuration.parameterCount == small.parameters.reduce(0) { $0 + $1.shape.count })
    #expect(small.configuration.headWidth == large.configuration.headWidth)
    for (units, layer) in zip(large.units, kept) {
      let rows = units.consumer.weight.outputsByInputs(try store.tensor(units.consumer.weight))
      let width = units.consumer.inputs / units.count
      for unit in Set(0..<units.count).subtracting(layer.kept) {
        try context.fill(rows.slice(1, unit * width..<(unit + 1) * width), 0)
      }
    }
    func loss(_ model: any LanguageModel, _ store: ParameterStore) throws -> Double {
      let (batch, time) = (golden.runs[0].batch, golden.context)
      let plan = try LossPlan(
        model, batch: batch, time: time, precision: .fp32, optimizer: nil, planner: Planner(context: context))
      let pass = try LossPass(plan, context: context, store: store, arena: nil)
      let ids = (0..<Int32(batch * time)).map { $0 * 7 % Int32(model.configuration.vocabularySize) }
      pass.session.set(tokens: ids, targets: ids.reversed(), time: time, lossScale: 1)
      return try pass.run()
    }
    #expect(abs(try loss(small, weights) / loss(large, store) - 1) < 1e-5)
    // Files and back, and generation, which keeps keys and values of the heads that are left.
    try withTemporaryFolder { folder in
      try ModelFiles.save(small, tokenizer: ByteTokenizer(), to: folder) { (weight) throws(KilnError) in
        try weights.tensor(weight)
      }
      let opened = try ModelFiles.open(folder.path).model
      #expect(opened.configuration == small.configuration && opened.parameters == small.parameters)
    }
  }

  @Test func earlyBirdGoesOnWithWhatItFound() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 30)
      (configuration.sparsity, configuration.patternEvery, configuration.lr) = (.earlyBird, 2, 1e-4)
      let out = folder.appendingPathComponent("out")
      let metrics = try train(EarlyTickets(configuration, out: out))
      let looks = try TicketLooks(at: out.appendingPathComponent("looks.json"))
      let drawn = try #require(looks.drawn)
      #expect(drawn >= 10 && drawn <= 15 && looks.last?.step == drawn)
      #expect(metrics["search"]!.map(\.step) == Array(0..<drawn))
      #expect(metrics["ticket"]!.map(\.step) == Array(drawn..<30))
      let model = try ModelFiles.open(out.path).model.configuration
      #expect((model.heads, model.headWidth, model.hidden) == (2, 16, 115))
      // The rate goes on where it was.
      #expect(metrics["ticket"]![0].lr < metrics["search"]!.map(\.lr).max()!)
    }
  }

  @Test func earlyBERTBeginsAnew() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 20)
      (configuration.sparsity, configuration.drawStep, configuration.density) = (.earlyBERT, 4, 0.34)
      (configuration.arch, configuration.kvHeads, configuration.width, configuration.heads) = (.llama, 3, 96, 6)
      let out = folder.appendingPathComponent("out")
      let metrics = try train(EarlyTickets(configuration, out: out))
      #expect(metrics["search"]!.map(\.step) == Array(0..<4) && metrics["ticket"]!.map(\.step) == Array(0..<20))
      let model = try ModelFiles.open(out.path).model.configuration
      #expect((model.heads, model.kvHeads, model.headWidth, model.hidden) == (2, 1, 16, 87))
      // What it begins with is a part of what the large model began with.
      let context = try Context(threads: 1)
      let inputs = try Inputs(configuration.beforeSearch, resuming: nil, kernels: context)
      let store = ParameterStore()
      try inputs.fill(store, seed: configuration.seed, precision: .fp32, context: context)
      let kept = try #require(TicketLooks(at: out.appendingPathComponent("looks.json")).last).kept
      let (small, weights) = try inputs.model.keeping(kept, in: store, context: context)
      let files = try PretrainedDirectory(out.appendingPathComponent("drawn"))
      for parameter in small.parameters {
        let stored = try ModelFiles.mappedTensor(#require(files.tensors[parameter.name]))
        #expect(stored.floats() == (try weights.tensor(parameter)).floats())
      }
    }
  }

  /// A search that was stopped finds the same.
  @Test func theSearchGoesOnExactly() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 30)
      (configuration.sparsity, configuration.patternEvery) = (.earlyBird, 2)
      func search(_ name: String, stops: [Int]) throws -> Data {
        let search = try EarlyTickets(configuration, out: folder.appendingPathComponent(name))
        try search.begin()
        for stop in stops + [.max] {
          let stage = search.stages[0]
          #expect(!stage.isFinished)
          let trainer = try Trainer(stage.configuration, out: stage.out, resuming: stage.point())
          try trainer.run(isOver: { (done) throws(KilnError) in
            try search.isOver(stage, trainer, done: done) || done == stop
          })
        }
        #expect(search.stages[0].isFinished)
        return try Data(contentsOf: search.out.appendingPathComponent("looks.json"))
      }
      #expect(try search("parts", stops: [3, 8]) == search("whole", stops: []))
    }
  }

  @Test(arguments: [
    (Variant("steps") { ($0.sparsity, $0.steps, $0.epochs) = (.earlyBird, nil, 1) }, "draws at a share of the steps"),
    (Variant("draw") { ($0.sparsity, $0.drawStep) = (.earlyBERT, 30) }, "--draw-step 30 is not before the last"),
    (Variant("zero") { ($0.sparsity, $0.drawStep) = (.earlyBERT, 0) }, "--draw-step is 0"),
    (Variant("alone") { $0.drawStep = 3 }, "--draw-step is of sparse weights"),
    (
      Variant("block") { ($0.sparsity, $0.block) = (.earlyBird, .blocks(rows: 4, columns: 4)) }, "--block means nothing"
    ),
    (Variant("density") { ($0.sparsity, $0.density) = (.earlyBird, 1.5) }, "--density is 1.5"),
    (Variant("penalty") { $0.slimming = -1 }, "--slimming is -1.0"),
    (Variant("both") { ($0.sparsity, $0.slimming) = (.rigl, 1) }, "--slimming is of dense weights"),
    (Variant("average") { ($0.slimming, $0.optimizer) = (1, .scheduleFree) }, "--slimming evaluates"),
  ]) func whatCannotBeIsRefused(_ variant: Variant, _ message: String) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 20)
      variant.change(&configuration)
      let error = #expect(throws: KilnError.self) {
        try configuration.validate()
        _ = try EarlyTickets(configuration, out: folder)
      }
      #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }
  }
}
