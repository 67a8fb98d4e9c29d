import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// The rates of this machine, measured once and kept beside the tokenised text.
public enum MachineRates {
  /// Those that were measured with the kernels and threads of a context.
  public static func cached(for context: Context) -> Rates? {
    guard let url = file(for: context), let data = try? Data(contentsOf: url) else { return nil }
    return try? JSONDecoder().decode(Rates.self, from: data)
  }

  /// Runs steps of small models in every precision, for a minute or two, and keeps what was measured.
  public static func measure(on context: Context, onProgress: (String) -> Void = { _ in }) throws(KilnError) -> Rates {
    var rates = Rates.nominal
    // What an OpenCL device has no kernels for, no plan will ask about.
    let (precisions, formats) =
      context.hasOwnMemory ? ([.fp32], [.fp32, .eightBit]) : (Precision.allCases, StateFormat.allCases)
    for precision in precisions where precision != .fp8Delayed {
      onProgress(precision.rawValue)
      for probe in try shapes() { try measure(probe, in: precision, on: context, &rates) }
    }
    onProgress("optimizers")
    for configuration in methods(formats) where (try? configuration.makeOptimizer()) != nil {
      try measure(gpt2(512, 4096, 1, 64, configuration), in: .fp32, on: context, &rates)
    }
    onProgress("activations in few bits")
    for bits in [8, 4, 2] {
      var configuration = TrainingConfiguration()
      configuration.compressActivations = .uniform(bits)
      try measure(gpt2(256, 4096, 16, 256, configuration), in: .fp32, on: context, &rates)
    }
    if let url = file(for: context) {
      try Folder.create(url.deletingLastPathComponent())
      try AtomicFile.write(Data(json(of: rates).utf8), to: url)
    }
    return rates
  }

  private struct Probe {
    let model: any LanguageModel
    let batch: Int
    let time: Int
    /// Optimizer and activations.
    var configuration = TrainingConfiguration()
  }

  /// Every optimizer with each kind of state.
  private static func methods(_ formats: [StateFormat]) -> [TrainingConfiguration] {
    TrainingConfiguration.OptimizerName.allCases.flatMap { name in
      formats.map { format in
        var configuration = TrainingConfiguration()
        (configuration.optimizer, configuration.optimizerState) = (name, format)
        return configuration
      }
    }
  }

  /// Shapes whose operations lie far apart in size.
  private static func shapes() throws(KilnError) -> [Probe] {
    try [
      gpt2(128, 256, 8, 128), llama(128, 256, 8, 128), gpt2(256, 4096, 16, 256), gpt2(768, 16384, 1, 1024),
      llama(768, 4096, 1, 512),
    ]
  }

  private static func gpt2(
    _ width: Int, _ vocabulary: Int, _ batch: Int, _ time: Int,
    _ configuration: TrainingConfiguration = TrainingConfiguration()
  ) throws(KilnError) -> Probe {
    let config = try GPT2Configuration(
      vocabularySize: vocabulary, contextLength: time, width: width, layers: 2, heads: width / 64)
    return Probe(model: GPT2(config), batch: batch, time: time, configuration: configuration)
  }

  private static func llama(
    _ width: Int, _ vocabulary: Int, _ batch: Int, _ time: Int
  ) throws(KilnError) -> Probe {
    let config = try LlamaConfiguration(
      vocabularySize: vocabulary, contextLength: time, width: width, hidden: 8 * width / 3 / 32 * 32, layers: 2,
      heads: width / 64, rmsNormEpsilon: 1e-5, tiesWordEmbeddings: true)
    return Probe(model: Llama(config), batch: batch, time: time)
  }

  private static func measure(
    _ probe: Probe, in precision: Precision, on context: Context, _ rates: inout Rates
  ) throws(KilnError) {
    let store = ParameterStore(on: context)
    try probe.model.initialize(store, seed: 0, precision: .fp32, context: context)
    let optimizer = try probe.configuration.makeOptimizer()
    let shape = TrainingStep.Shape(
      batch: probe.batch, microBatch: probe.batch, time: probe.time, dropout: 0, clip: 1, precision: precision)
    var graphs = try StepGraphs(probe.model, optimizer, shape)
    if case .uniform(let bits) = probe.configuration.compressActivations {
      graphs = graphs.compressingActivations(CompressActivations(bits: bits))
    }
    let plan = try StepPlan(graphs, probe.model, optimizer, planner: Planner(context: context))
    let session = try Session(plan.gradient, context: context, store: store)
    session.set(
      tokens: [Int32](repeating: 1, count: probe.batch * probe.time),
      targets: [Int32](repeating: 2, count: probe.batch * probe.time), time: probe.time,
      lossScale: 1 / Double(probe.batch * probe.time))
    session.set(lr: 0, lossScale: 1)
    try rates.measure(session)
  }

  /// By processor, kernels and threads.
  private static func file(for context: Context) -> URL? {
    let processor = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n").prefix(26)
      .filter { ["model", "cpu family", "vendor_id"].contains($0.prefix { $0 != "\t" && $0 != ":" }) }
      .compactMap { $0.split(separator: ":").last?.trimmingCharacters(in: .whitespaces) }.joined(separator: "-")
    let products = context.openCLDevice.map { "\($0.name)-\(context.tile ?? "")" } ?? context.gemm
    let name = String(products.map { $0.isLetter || $0.isNumber ? $0 : "-" })
    return Corpus.standardCache?.appendingPathComponent(
      "rates-\(processor ?? "unknown")-\(context.isa)-\(name)-\(context.threads)t.json")
  }
}
