import Foundation
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// States behind the device: the same bits as in memory, and faults that end a run cleanly.
struct OffloadedStatesTests: TinyRuns {
  private let model = GPT2(
    (try? GPT2Configuration(vocabularySize: 96, contextLength: 16, width: 64, layers: 2, heads: 2))!)

  private func configuration(
    _ name: TrainingConfiguration.OptimizerName, _ format: StateFormat, _ master: MasterWeights
  ) -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    (configuration.optimizer, configuration.optimizerState, configuration.master) = (name, format, master)
    configuration.precision = master == .fp32 ? .fp32 : .bf16
    return configuration
  }

  /// - Parameter tile: of states behind the device; nil keeps them in memory.
  private func train(
    _ configuration: TrainingConfiguration, tile: Int?, in place: BackingStore.Place
  ) throws -> (losses: [Double], contents: [[UInt8]]) {
    let context = try Context(threads: 2)
    let store = ParameterStore()
    let base = try configuration.makeOptimizer()
    let hasMasters = configuration.master == .fp32
    let weights = hasMasters ? model.parameters : model.parameters.map(configuration.precision.operand)
    try model.initialize(
      store, seed: 1, precision: hasMasters ? .fp32 : configuration.precision, context: context)
    let offloaded = try tile.map { try OffloadedStates(base, of: weights, in: place, tile: $0) }
    try offloaded?.open()
    let shape = TrainingStep.Shape(
      batch: 2, microBatch: 2, time: 16, dropout: 0, clip: nil, precision: configuration.precision,
      hasMasters: hasMasters)
    let step = try TrainingStep(model, offloaded ?? base, shape: shape, context: context, store: store)
    let tokens = pseudoRandom(2 * 17 * 4, seed: 5).map { Int32(($0 + 1) * 47.9) }
    let source = try BatchSource(Corpus(tokens: tokens), context: 16, batch: 2, order: .sequential)
    let losses = try (0..<4).map { index in
      try step.run(source.batch(step: index), step: index, seed: 7, lr: 1e-2, lossScale: 1).loss
    }
    var contents = try weights.map { try store.tensor($0).withBytes { [UInt8]($0) } }
    for state in weights.flatMap(base.states(of:)) {
      let tensor = offloaded == nil ? try store.tensor(state) : try Tensor(zeros: state.shape, state.type.dtype)
      try offloaded?.load(state, into: tensor, context: context)
      contents.append(tensor.withBytes { [UInt8]($0) })
    }
    return (losses, contents)
  }

  @Test(arguments: [
    (TrainingConfiguration.OptimizerName.adamw, StateFormat.fp32, MasterWeights.fp32), (.adamw, .eightBit, .fp32),
    (.adamw, .stochastic, .fp32), (.adam, .bf16, .kahan), (.lion, .eightBit, .fp32), (.momentum, .fp32, .none),
    (.sgd, .fp32, .fp32), (.lamb, .fp32, .fp32), (.muon, .eightBit, .fp32), (.adafactor, .fp32, .fp32),
  ])
  func theBitsStay(
    _ name: TrainingConfiguration.OptimizerName, _ format: StateFormat, _ master: MasterWeights
  ) throws {
    try withTemporaryFolder { folder in
      let configuration = configuration(name, format, master)
      let inMemory = try train(configuration, tile: nil, in: .host)
      #expect(Set(inMemory.losses).count == 4)
      // Tiles that cut weights once, often, and not at all.
      for tile in [2560, 512, 1 << 20] {
        for place in [.disk(folder), BackingStore.Place.host] {
          let behind = try train(configuration, tile: tile, in: place)
          #expect(behind.losses == inMemory.losses && behind.contents == inMemory.contents, "tiles of \(tile)")
        }
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty, "something was left behind")
    }
  }

  @Test func faultsAreNamed() throws {
    let nowhere = #expect(throws: KilnError.self) {
      try BackingStore(in: .disk(URL(fileURLWithPath: "/nowhere")), byteCount: 4096)
    }
    #expect(nowhere?.message == "cannot use the folder '/nowhere': No such file or directory")
    let full = #expect(throws: KilnError.self) {
      try BackingStore(in: .disk(FileManager.default.temporaryDirectory), byteCount: 1 << 55)
    }
    #expect(full?.message.hasPrefix("cannot reserve \(1 << 35) MiB in") == true)
    let error = #expect(throws: KilnError.self) {
      try OffloadedStates(ScheduleFree(), of: model.parameters, in: .host)
    }
    #expect(error?.message.contains("cannot be offloaded") == true)
  }

  @Test func aRunIsResumedWithItsDiskFromAnyFolder() {
    var configuration = TrainingConfiguration()
    configuration.disk = "scratch"
    #expect(configuration.withAbsolutePaths.disk?.hasPrefix("/") == true)
  }

  /// A run whose states are on disk is saved and goes on as one whose states are in memory.
  @Test func checkpointsAreThoseOfMemory() throws {
    try withTemporaryFolder { folder in
      func run(_ name: String, offload: [TrainingConfiguration.Offload], resume: Bool = false) throws -> Data {
        let out = folder.appendingPathComponent(name)
        let point = resume ? try TrainingConfiguration.resume(out) : nil
        var configuration = try point?.configuration ?? configuration(in: folder, steps: 4)
        configuration.offload = offload
        configuration.steps = resume ? 6 : 4
        _ = try train(configuration, out: out, resuming: point)
        return try checkpoint(out)
      }
      #expect(try run("memory", offload: []) == run("disk", offload: [.states]))
      let memory = try run("memory", offload: [.states], resume: true)
      #expect(try memory == run("disk", offload: [], resume: true))
    }
  }
}
