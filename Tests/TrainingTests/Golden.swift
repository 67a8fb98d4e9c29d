import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTraining
import Testing

/// What PyTorch and transformers computed for one small model: `Tests/Golden/models/<name>`.
struct Golden: Decodable {
  struct Run: Decodable, Sendable, CustomTestStringConvertible {
    var optimizer: String
    var lr: Double
    var weightDecay: Double
    var momentum: Double
    var betas: [Double]
    var eps: Double
    var gradClip: Double
    var batch: Int
    var microBatch: Int
    var optimizerState: StateFormat?
    var loss: [Double]
    var gradNorm: [Double]

    var testDescription: String {
      "\(optimizer) \(optimizerState?.rawValue ?? ""), clip \(gradClip), batch \(batch)/\(microBatch)"
    }
  }

  struct Generation: Decodable {
    var prompt: [Int32]
    var tokens: [Int32]
  }

  struct Evaluation: Decodable {
    var loss: Double
    var tokens: Int
  }

  var context: Int
  var tokens: [Int32]
  var runs: [Run]
  var accumulation: Run
  var generation: [Generation]
  var eval: Evaluation

  static let names = ["gpt2-tiny", "gpt2-tiny-bf16", "llama-tiny", "llama-rope3-tied"]

  static func folder(_ name: String) -> URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Golden/models/\(name)")
  }

  static func load(_ name: String) throws -> Golden { try decode("golden.json", of: name) }

  /// A file of a model's folder.
  static func decode<T: Decodable>(_ file: String, of name: String) throws -> T {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(T.self, from: Data(contentsOf: folder(name).appendingPathComponent(file)))
  }

  /// The loss of the first batch of `runs`, and every parameter's gradient by name; scaled on the way where the
  /// precision wants that.
  func firstStep(
    of name: String, on device: Context.Device, in precision: Precision
  ) throws -> (loss: Double, gradients: [String: [Float]]) {
    let (model, files) = try ModelFiles.open(Self.folder(name).path)
    let kernels = try Context(device: device, threads: 2)
    let store = ParameterStore(on: kernels)
    try ModelFiles.load(model, from: files, into: store, access: .copied, context: kernels)

    let graph = Graph(precision: precision)
    let batch = runs[0].batch
    let loss = try model.loss(in: graph, batch: batch, time: context, mode: .training(dropout: 0))
    let gradients = try graph.gradients(of: [(loss, graph.unit)], for: model.parameters)
    #expect(gradients.count == model.parameters.count)
    #expect(gradients.values.allSatisfy { $0.type.dtype == .float32 })
    let plan = try Planner(context: kernels).plan(graph, outputs: [loss] + gradients.values)
    let session = try Session(plan, context: kernels, store: store)
    session.input("positions")?.copy(from: (0..<Int32(context)).map { $0 })
    let scale = precision.scalesLoss ? LossScaler().scale : 1
    session.input("loss_scale")?.scalar = scale / Double(batch * context)
    session.input("tokens")?.copy(from: Array(tokens[0..<batch * context]))
    session.input("targets")?.copy(from: Array(tokens[1...batch * context]))
    try session.run()
    let values = gradients.map { ($0.key.name, session.tensor(of: $0.value).floats().map { $0 / Float(scale) }) }
    return (session.tensor(of: loss).scalar / scale, Dictionary(uniqueKeysWithValues: values))
  }

  /// The metrics of a run of the trainer with the same settings.
  func train(
    _ run: Run, of name: String, on device: Context.Device = .cpu, in precision: Precision = .fp32
  ) throws -> [StepMetrics] {
    try withTemporaryFolder { folder in
      var configuration = TrainingConfiguration()
      configuration.data = [try writeShard(in: folder).path]
      configuration.model = Self.folder(name).path
      configuration.context = context
      configuration.batch = run.batch
      configuration.microBatch = run.microBatch
      configuration.steps = run.loss.count
      configuration.order = .sequential
      configuration.optimizer = try #require(TrainingConfiguration.OptimizerName(rawValue: run.optimizer))
      configuration.optimizerState = run.optimizerState ?? .fp32
      configuration.lr = run.lr
      configuration.betas = configuration.optimizer.hasBetas ? run.betas : nil
      configuration.eps = configuration.optimizer.hasEps ? run.eps : nil
      configuration.momentum = run.momentum > 0 ? run.momentum : nil
      configuration.weightDecay = run.weightDecay
      configuration.gradClip = run.gradClip
      configuration.schedule = .constant
      configuration.warmup = 0
      configuration.precision = precision
      let options = Trainer.Options(threads: 2, device: device)
      let trainer = try Trainer(configuration, out: folder.appendingPathComponent("out"), options: options)
      var metrics: [StepMetrics] = []
      try trainer.run(onEvent: { if case .step(let step) = $0 { metrics.append(step) } })
      #expect(metrics.count == run.loss.count)
      return metrics
    }
  }

  /// The tokens as a shard that `--data` takes.
  func writeShard(in folder: URL) throws -> URL {
    var header = [Int32](repeating: 0, count: 256)
    header[0] = 20_240_520
    header[1] = 1
    header[2] = Int32(tokens.count)
    var bytes = header.withUnsafeBytes { Data($0) }
    for token in tokens { withUnsafeBytes(of: UInt16(token).littleEndian) { bytes.append(contentsOf: $0) } }
    let url = folder.appendingPathComponent("tokens.bin")
    try bytes.write(to: url)
    return url
  }
}

/// A folder that is removed when the body returns.
func withTemporaryFolder<R>(_ body: (URL) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-test-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}

/// The floats of a stored tensor.
func floats(_ stored: StoredTensor) -> [Float] {
  stored.withBytes { span in
    span.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }
  }
}

/// The largest difference, relative to the largest element.
func relativeError(_ values: [Float], _ expected: [Float]) -> Double {
  guard values.count == expected.count else { return .infinity }
  let scale = expected.map { Double(abs($0)) }.max() ?? 0
  let error = zip(values, expected).map { Double(abs($0 - $1)) }.max() ?? 0
  return error.isNaN ? .infinity : error / max(scale, 1e-12)
}
