import KilnData
import KilnGraph
import KilnKernels
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

struct GradientNoiseScaleTests {
  /// |G|^2 = 2 and S = 24 give 2 + 24 / b.
  @Test func twoSizesOfBatchGiveBothMoments() throws {
    var noise = GradientNoiseScale()
    #expect(noise.sequences == nil)
    for _ in 0..<3 { noise.update(.init(batch: 4, squaredNorm: 8), .init(batch: 12, squaredNorm: 4)) }
    #expect(abs(try #require(noise.sequences) - 12) < 1e-9)
    noise.update(.init(batch: 4, squaredNorm: .nan), .init(batch: 12, squaredNorm: 4))
    #expect(noise.isPlausible)
  }

  /// Gradients of 50 numbers with mean 0.2 and deviation 1, as means of 2 and 16: S / |G|^2 = 50 / (50 * 0.04) = 25.
  @Test func noisyGradients() throws {
    var noise = GradientNoiseScale()
    let values = pseudoRandom(400 * 16 * 50, seed: 1)
    for step in 0..<400 {
      let gradients = (0..<16).map { sample in
        (0..<50).map { 0.2 + values[(step * 16 + sample) * 50 + $0] * 3.0.squareRoot() }  // uniform in -1 ... 1
      }
      func squaredNorm(of batch: Int) -> Double {
        (0..<50).reduce(0) { total, i in
          let mean = gradients.prefix(batch).reduce(0) { $0 + $1[i] } / Double(batch)
          return total + mean * mean
        }
      }
      noise.update(
        .init(batch: 2, squaredNorm: squaredNorm(of: 2)), .init(batch: 16, squaredNorm: squaredNorm(of: 16)))
    }
    let sequences = try #require(noise.sequences)
    #expect(abs(sequences / 25 - 1) < 0.1, "\(sequences)")
  }

  /// The first micro-batch's gradient is that of a batch of its sequences alone.
  @Test(arguments: [Precision.fp32, .fp16]) func theFirstMicroBatchByItself(_ precision: Precision) throws {
    let golden = try Golden.load("gpt2-tiny")
    let (model, files) = try ModelFiles.open(Golden.folder("gpt2-tiny").path)
    let context = try Context(threads: 2)
    func result(batch: Int, microBatch: Int) throws -> TrainingStep.Result {
      let store = ParameterStore()
      try ModelFiles.load(model, from: files, into: store, access: .copied, context: context)
      let shape = TrainingStep.Shape(
        batch: batch, microBatch: microBatch, time: golden.context, dropout: 0, clip: 1, precision: precision)
      let step = try TrainingStep(model, try SGD(), shape: shape, context: context, store: store)
      let source = try BatchSource(
        Corpus(tokens: golden.tokens), context: golden.context, batch: batch, order: .sequential)
      return try step.run(source.batch(step: 0), step: 0, seed: 0, lr: 0, lossScale: precision.scalesLoss ? 1024 : 1)
    }
    let alone = try result(batch: 2, microBatch: 2)
    let first = try #require(try result(batch: 4, microBatch: 2).firstSquaredNorm)
    let norm = try #require(alone.gradNorm)
    #expect(alone.firstSquaredNorm == nil)
    #expect(abs(first.squareRoot() / norm - 1) < (precision == .fp32 ? 1e-6 : 1e-3))
  }
}
