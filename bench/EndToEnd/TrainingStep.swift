import ArgumentParser
import Ceilings
import Foundation
import Kiln

/// Times whole training steps (forward, backward, update) of GPT-2 on random tokens, between measurements of the
/// machine's multiply-add ceiling, so that a share of the ceiling is of the same minutes.
@main
struct TrainingStepBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kiln-bench", abstract: "Training steps of GPT-2 124M as a share of the machine's FMA ceiling.")

  @Option(help: "Sequences in a batch.") var batch = 4
  @Option(help: "Tokens in a sequence.") var context = 1024
  @Option(help: "Layers.") var layers = 12
  @Option(help: "Width.") var width = 768
  @Option(help: "Vocabulary.") var vocabulary = 50257
  @Option(help: "Steps that are timed, after one that is not.") var steps = 3
  @Option(help: "Threads (default: every CPU).") var threads: Int?

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var configuration = TrainingConfiguration()
    configuration.data = [try writeTokens(in: folder).path]
    configuration.arch = .gpt2
    (configuration.layers, configuration.width, configuration.heads) = (layers, width, width / 64)
    (configuration.context, configuration.batch, configuration.vocabSize) = (context, batch, vocabulary)
    configuration.steps = steps + 1
    configuration.gradClip = 0
    let trainer = try Trainer(
      configuration, out: folder.appendingPathComponent("out"), options: Trainer.Options(threads: threads))
    print(
      "GPT-2 \(trainer.parameterCount / 1_000_000)M, \(batch) x \(context) tokens, \(trainer.context.isa), \(trainer.context.threads) threads, update \(trainer.updateMode), forecast \(trainer.memory.total >> 20) MiB"
    )

    var ceilings = [ceiling_fma_fp32(Int32(trainer.context.threads), 2)]
    var rates: [Double] = []
    var losses: [Double] = []
    try trainer.run(onEvent: { event in
      guard case .step(let metrics) = event else { return }
      if metrics.step > 0 { rates.append(metrics.tokensPerSecond) }
      losses.append(metrics.loss)
      ceilings.append(ceiling_fma_fp32(Int32(trainer.context.threads), 1))
    })
    let flops = 6.0 * Double(trainer.parameterCount - context * width) + 6.0 * Double(layers * width * context)
    let ceiling = median(ceilings)
    let rate = median(rates)
    print(
      String(
        format: "ceiling   %.1f GFLOP/s (%.1f to %.1f)", ceiling / 1e9, (ceilings.min() ?? 0) / 1e9,
        (ceilings.max() ?? 0) / 1e9))
    print(
      String(
        format: "step      %.1f tokens/s (%.1f to %.1f), %.1f GFLOP/s", rate, rates.min() ?? 0, rates.max() ?? 0,
        rate * flops / 1e9))
    print(String(format: "share     %.3f of the ceiling", rate * flops / ceiling))
    print(
      String(
        format: "memory    %.2f GiB at most, forecast %.2f GiB", Double(ProcessMemory.peakResident) / 0x1p30,
        Double(trainer.memory.total) / 0x1p30))
    print("losses    \(losses.map { String(format: "%.4f", $0) }.joined(separator: " "))")
  }

  private func writeTokens(in folder: URL) throws -> URL {
    let count = batch * context * (steps + 1) + 1
    var header = [Int32](repeating: 0, count: 256)
    (header[0], header[1], header[2]) = (20_240_520, 1, Int32(count))
    var data = header.withUnsafeBytes { Data($0) }
    var state: UInt64 = 1
    for _ in 0..<count {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      withUnsafeBytes(of: UInt16((state >> 33) % UInt64(vocabulary)).littleEndian) { data.append(contentsOf: $0) }
    }
    let url = folder.appendingPathComponent("tokens.bin")
    try data.write(to: url)
    return url
  }

  private func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
  }
}
