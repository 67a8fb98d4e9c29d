import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnTraining
import Testing

/// Training in bf16 and fp16, measured by its distance from fp32: it may be a few times that of PyTorch's autocast,
/// which keeps the residual stream in fp32.
struct PrecisionTests {
  static let narrow: [Precision] = [.bf16, .fp16]

  /// `bf16.json` and `fp16.json`, beside the run in fp32 that stands there too: how it goes under autocast.
  struct Autocast: Decodable {
    var autocastLoss: [Double]
    var autocastGradNorm: [Double]
    var autocastGradientError: Double

    static let names = ["gpt2-tiny", "llama-tiny", "llama-rope3-tied"]

    static func load(_ name: String, in precision: Precision) throws -> Autocast {
      try Golden.decode("\(precision).json", of: name)
    }
  }

  @Test(arguments: Autocast.names, narrow)
  func gradientsAreAsNearToFP32AsUnderAutocast(_ name: String, _ precision: Precision) throws {
    for device in GoldenTests.devices { try compareGradients(of: name, in: precision, on: device) }
  }

  /// Of all gradients together, relative to the size of those in fp32.
  private func distance(of gradients: [String: [Float]], from name: String) throws -> Double {
    let exact = try SafetensorsFile(Golden.folder(name).appendingPathComponent("gradients.safetensors")).tensors
    var distance = 0.0
    var norm = 0.0
    for (parameter, values) in gradients {
      for (a, b) in zip(values, floats(try #require(exact[parameter]))) {
        distance += pow(Double(a) - Double(b), 2)
        norm += pow(Double(b), 2)
      }
    }
    return (distance / norm).squareRoot()
  }

  private func compareGradients(of name: String, in precision: Precision, on device: Context.Device) throws {
    let step = try Golden.load(name).firstStep(of: name, on: device, in: precision)
    let error = try distance(of: step.gradients, from: name)
    let autocast = try Autocast.load(name, in: precision).autocastGradientError
    #expect(error < 2 * autocast, "\(device): \(error), under autocast \(autocast)")
  }

  /// Products in 8 bits: how far gradients may be from those of fp32, about twice what is found.
  @Test(
    arguments: Autocast.names,
    [(Precision.int8, 0.15), (.int8Head, 0.15), (.int8All, 0.15), (.fp8, 0.5), (.fp8Delayed, 0.5)])
  func gradientsOfNarrowProductsAreNearFP32(_ name: String, _ bound: (precision: Precision, error: Double)) throws {
    for device in GoldenTests.hosts {
      let step = try Golden.load(name).firstStep(of: name, on: device, in: bound.precision)
      let error = try distance(of: step.gradients, from: name)
      #expect(error > 0 && error < bound.error, "\(device): \(error)")
    }
  }

  @Test(arguments: Autocast.names, narrow) func tenStepsStayNearFP32(_ name: String, _ precision: Precision) throws {
    for microBatch in [4, 2] { try compareSteps(of: name, in: precision, microBatch, on: .cpu) }
    for device in GoldenTests.openCL { try compareSteps(of: name, in: precision, 4, on: device) }
  }

  private func compareSteps(
    of name: String, in precision: Precision, _ microBatch: Int, on device: Context.Device
  ) throws {
    var run: Golden.Run = try Golden.decode("\(precision).json", of: name)
    run.microBatch = microBatch
    let autocast = try Autocast.load(name, in: precision)
    let metrics = try Golden.load(name).train(run, of: name, on: device, in: precision)
    func largest(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).map { abs($0 / $1 - 1) }.max() ?? .infinity }
    let lossError = largest(metrics.map(\.loss), run.loss)
    #expect(lossError > 0, "\(precision) gives the very bits of fp32")
    #expect(lossError < 3 * largest(autocast.autocastLoss, run.loss))
    let norms = try metrics.map { try #require($0.gradNorm) }
    #expect(largest(norms, run.gradNorm) < 3 * largest(autocast.autocastGradNorm, run.gradNorm))
  }

  /// Weights converted once, when they are loaded, are the weights converted at each use.
  @Test(arguments: Autocast.names, narrow)
  func keepingNarrowWeightsChangesNoBit(_ name: String, _ precision: Precision) throws {
    for device in [.cpu] + GoldenTests.openCL { try keepNarrowWeights(of: name, in: precision, on: device) }
  }

  private func keepNarrowWeights(of name: String, in precision: Precision, on device: Context.Device) throws {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(device: device, threads: 2)
    let losses = try [true, false].map { hasMasters in
      let store = ParameterStore(on: context)
      try ModelFiles.load(
        model, from: files, into: store, access: .mapped, precision: hasMasters ? .fp32 : precision, context: context)
      let evaluator = try Evaluator(
        model, batch: 3, time: golden.context, precision: precision, hasMasters: hasMasters, context: context,
        store: store)
      return try evaluator.evaluate(Corpus(tokens: golden.tokens)).loss
    }
    #expect(losses[0] == losses[1])
    #expect(abs(losses[0] / golden.eval.loss - 1) < (precision == .bf16 ? 5e-3 : 5e-3 / 8))
  }

  /// Logits of the next token over a cache, in fp32 from narrow weights and activations.
  @Test(arguments: Autocast.names, narrow)
  func logitsOverACacheAreNearFP32(_ name: String, _ precision: Precision) throws {
    for device in [.cpu] + GoldenTests.openCL { try compareLogits(of: name, in: precision, on: device) }
  }

  private func compareLogits(of name: String, in precision: Precision, on device: Context.Device) throws {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(device: device, threads: 2)
    let store = ParameterStore(on: context)
    try ModelFiles.load(model, from: files, into: store, access: .mapped, precision: precision, context: context)
    let graph = Graph(precision: precision, hasMasters: false)
    let time = golden.context
    let width = model.configuration.kvHeads * model.configuration.headWidth
    let cache = KVCache(capacity: time, width: width, in: graph)
    let logits = try model.nextLogits(in: graph, batch: 1, time: time, cache: cache)
    #expect(logits.type.dtype == .float32)
    let plan = try Planner(context: context).plan(graph, outputs: [logits])
    let session = try Session(plan, context: context, store: store)
    session.input("tokens")?.copy(from: Array(golden.tokens[0..<time]))
    session.input("positions")?.copy(from: (0..<Int32(time)).map { $0 })
    session.input("position")?.scalar = 0
    try session.run()
    let stored = try SafetensorsFile(Golden.folder(name).appendingPathComponent("logits.safetensors")).tensors
    let expected = floats(try #require(stored["logits_first"])).suffix(logits.shape.last)
    #expect(
      relativeError(session.tensor(of: logits).floats(), Array(expected)) < (precision == .bf16 ? 0.03 : 0.01))
  }
}
