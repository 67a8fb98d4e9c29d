// Which runs are predicted and measured: shapes from 1 M to 1.5 B parameters, every technique alone and together.

import Foundation
import Kiln

enum MemoryRuns {
  struct Group {
    let name: String
    let runs: [MemoryRun.Planned]
  }

  static var groups: [Group] {
    [Group(name: "forecast", runs: forecast), Group(name: besidePeers, runs: frontier), Group(name: "xl", runs: xl)]
  }

  /// The group that PyTorch is measured beside.
  static let besidePeers = "frontier"

  private struct Shape {
    var name: String
    var arch = TrainingConfiguration.Architecture.gpt2
    var layers: Int
    var heads: Int
    var kvHeads: Int?
    var width: Int
    var vocabulary: Int
    var batch: Int
    var time: Int
    var steps = 3
  }

  private static let micro = Shape(
    name: "GPT-2 1M", layers: 4, heads: 2, width: 128, vocabulary: 512, batch: 8, time: 128)
  private static let small = Shape(
    name: "GPT-2 4M", layers: 4, heads: 4, width: 256, vocabulary: 4096, batch: 16, time: 256)
  private static let llama = Shape(
    name: "Llama 10M", arch: .llama, layers: 6, heads: 6, kvHeads: 2, width: 384, vocabulary: 2048, batch: 8, time: 256)
  private static let smol = Shape(
    name: "Llama 135M", arch: .llama, layers: 30, heads: 9, kvHeads: 3, width: 576, vocabulary: 49152, batch: 2,
    time: 256, steps: 2)
  private static let gpt2 = Shape(
    name: "GPT-2 124M", layers: 12, heads: 12, width: 768, vocabulary: 50257, batch: 4, time: 1024, steps: 2)
  private static let short = Shape(
    name: "GPT-2 124M short", layers: 12, heads: 12, width: 768, vocabulary: 50257, batch: 4, time: 128, steps: 2)
  private static let medium = Shape(
    name: "GPT-2 355M", layers: 24, heads: 16, width: 1024, vocabulary: 50257, batch: 1, time: 512, steps: 2)
  private static let extraLarge = Shape(
    name: "GPT-2 1.5B", layers: 48, heads: 25, width: 1600, vocabulary: 50257, batch: 1, time: 1024, steps: 1)

  private static func run(
    _ shape: Shape, _ technique: String, _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) -> MemoryRun.Planned {
    var configuration = TrainingConfiguration()
    configuration.arch = shape.arch
    (configuration.layers, configuration.heads, configuration.kvHeads) = (shape.layers, shape.heads, shape.kvHeads)
    (configuration.width, configuration.vocabSize) = (shape.width, shape.vocabulary)
    (configuration.batch, configuration.context, configuration.steps) = (shape.batch, shape.time, shape.steps)
    configuration.saveEvery = .max
    change(&configuration)
    return MemoryRun.Planned(name: "\(shape.name), \(technique)", configuration: configuration)
  }

  private static let forecast: [MemoryRun.Planned] =
    [micro, small, llama].flatMap { shape in
      [Precision.fp32, .bf16, .fp16, .int8].map { precision in
        run(shape, precision.rawValue) { $0.precision = precision }
      }
    } + [
      run(small, "no clipping") { $0.gradClip = 0 },
      run(small, "micro-batches of 4") { $0.microBatch = 4 },
      run(small, "recompute attention") { $0.recompute = .attention },
      run(small, "recompute every-1") { $0.recompute = .every(1) },
      run(small, "recompute sqrt, bf16") { ($0.recompute, $0.precision) = (.squareRoot, .bf16) },
      run(small, "activations in 8 bits") { $0.compressActivations = .uniform(8) },
      run(small, "activations in 4 bits") { $0.compressActivations = .uniform(4) },
      run(small, "activations in 2 bits, bf16") { ($0.compressActivations, $0.precision) = (.uniform(2), .bf16) },
      run(small, "8-bit states") { $0.optimizerState = .eightBit },
      run(small, "states on disk") { $0.offload = [.states] },
      run(small, "no masters, bf16") { ($0.master, $0.precision) = (MasterWeights.none, .bf16) },
      run(small, "Adafactor") { $0.optimizer = .adafactor },
      run(small, "Muon") { $0.optimizer = .muon },
      run(small, "micro-batches, recompute, 8-bit states") {
        ($0.microBatch, $0.recompute, $0.optimizerState) = (4, .squareRoot, .eightBit)
      },
      run(llama, "no clipping, recompute sqrt") { ($0.gradClip, $0.recompute) = (0, .squareRoot) },
      run(llama, "states on disk, activations in 4 bits") {
        ($0.offload, $0.compressActivations) = ([.states], .uniform(4))
      },
      run(llama, "230 MiB") { $0.memory = 230 << 20 },
      run(llama, "180 MiB, lossy") { ($0.memory, $0.allow) = (180 << 20, .lossy) },
      run(smol, "fp32"), run(smol, "bf16, no clipping") { ($0.precision, $0.gradClip) = (.bf16, 0) },
      run(smol, "recompute every-5") { $0.recompute = .every(5) },
      run(smol, "states on disk, no clipping") { ($0.offload, $0.gradClip) = ([.states], 0) },
      run(short, "fp32"), run(short, "no clipping") { $0.gradClip = 0 },
      run(short, "bf16, no masters, 8-bit states") {
        ($0.precision, $0.master, $0.optimizerState, $0.gradClip) = (.bf16, MasterWeights.none, .eightBit, 0)
      },
      run(short, "int8") { $0.precision = .int8 },
      run(short, "fp16") { $0.precision = .fp16 },
      run(short, "micro-batches of 1") { $0.microBatch = 1 },
      run(medium, "fp32, no clipping") { $0.gradClip = 0 },
      run(medium, "bf16, recompute sqrt") { ($0.precision, $0.recompute) = (.bf16, .squareRoot) },
      run(small, "activations on disk") { $0.offload = [.activations] },
      run(small, "activations in host memory") { ($0.offload, $0.deviceMemory) = ([.activations], 1 << 30) },
      run(small, "device of 128 MB, bf16") { ($0.deviceMemory, $0.precision) = (128_000_000, .bf16) },
      run(small, "updates on the host, bf16") { ($0.offload, $0.precision) = ([.optimizer], .bf16) },
      run(small, "delayed updates on the host, bf16") {
        ($0.offload, $0.precision, $0.delayUpdate) = ([.optimizer], .bf16, 0)
      },
      run(small, "activations in 3 bits by sensitivity") { $0.compressActivations = .allotted(average: 3) },
      run(llama, "states and activations on disk, recompute sqrt") {
        ($0.offload, $0.recompute) = ([.states, .activations], .squareRoot)
      },
      run(medium, "states and activations on disk, no clipping") {
        ($0.offload, $0.gradClip) = ([.states, .activations], 0)
      },
      run(medium, "states on disk, no clipping") { ($0.offload, $0.gradClip) = ([.states], 0) },
    ]

  /// GPT-2 124M, 4 x 1024 tokens, AdamW without clipping: ever less memory.
  private static let frontier: [MemoryRun.Planned] =
    [nil, 2782, 2400, 2048, 1946].map { within($0, .fp32) }
    + [nil, 2167, 1856].map { within($0, .bf16) } + [
      run(gpt2, "fp32, 1024 MiB, disk") {
        ($0.gradClip, $0.memory, $0.disk) = (0, 1024 << 20, FileManager.default.temporaryDirectory.path)
      },
      run(gpt2, "fp32, 860 MiB, disk") {
        ($0.gradClip, $0.memory, $0.disk) = (0, 860 << 20, FileManager.default.temporaryDirectory.path)
      },
      run(gpt2, "fp32, 1056 MiB, lossy") { ($0.gradClip, $0.memory, $0.allow) = (0, 1056 << 20, .lossy) },
      run(gpt2, "bf16, 1024 MiB, lossy") {
        ($0.precision, $0.gradClip, $0.memory, $0.allow) = (.bf16, 0, 1024 << 20, .lossy)
      },
    ]

  /// - Parameter budget: in MiB.
  private static func within(_ budget: Int?, _ precision: Precision) -> MemoryRun.Planned {
    run(gpt2, precision.rawValue + (budget.map { ", \($0) MiB" } ?? "")) {
      ($0.precision, $0.gradClip, $0.memory) = (precision, 0, budget.map { $0 << 20 })
    }
  }

  private static let xl: [MemoryRun.Planned] = [
    run(extraLarge, "bf16, 8 GB, lossy") {
      ($0.precision, $0.gradClip, $0.memory, $0.allow) = (.bf16, 0, 8_000_000_000, .lossy)
    },
    run(extraLarge, "fp32, 8 GB, disk") {
      ($0.gradClip, $0.memory, $0.disk) = (0, 8_000_000_000, FileManager.default.temporaryDirectory.path)
    },
  ]
}
