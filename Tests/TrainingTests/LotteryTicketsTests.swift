import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers
import Testing

@testable import KilnTraining

/// Train, keep the largest weights, put them back, train again.
struct LotteryTicketsTests: TinyRuns {
  /// The weights of a model's projections, outputs by inputs, with zeros where nothing is kept.
  private func weights(of path: URL) throws -> [String: [Float]] {
    let (opened, files) = try ModelFiles.open(path.path)
    let model = opened.configuration.makeModel()
    let context = try Context(threads: 1)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .copied, context: context)
    var result: [String: [Float]] = [:]
    for parameter in model.parameters where parameter.projection != nil {
      let rows = parameter.outputsByInputs(try store.tensor(parameter))
      let dense = try Tensor(zeros: rows.shape)
      try context.copy(dense, rows)
      result[parameter.name] = dense.floats()
    }
    return result
  }

  @Test(arguments: [0, 3], [LotteryTickets.Rewinding.weights, .rate]) func roundsKeepTheLargest(
    _ rewind: Int, _ rewinding: LotteryTickets.Rewinding
  ) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 12)
      configuration.sparsity = .lottery
      (configuration.rounds, configuration.rewind, configuration.rewinding) = (2, rewind, rewinding)
      configuration.density = 0.25
      configuration.dropout = 0
      let out = folder.appendingPathComponent("out")
      let metrics = try train(LotteryTickets(configuration, out: out))
      // The first round is the dense run, from the start on where there is one.
      var dense = configuration
      dense.sparsity = nil
      (dense.rounds, dense.rewind, dense.rewinding, dense.density) = (nil, nil, nil, nil)
      let expected = try train(dense, out: folder.appendingPathComponent("dense"))
      #expect(bits((metrics["start"] ?? []) + metrics["round 0"]!) == bits(expected))
      #expect(metrics["round 2"]!.map(\.step) == Array(rewind..<12))
      #expect(metrics["round 2"]!.map(\.lr) == Array(expected.map(\.lr)[rewind...]))

      let trained = try (0...2).map { try weights(of: out.appendingPathComponent("round-\($0)")) }
      for (name, last) in trained[2] {
        let before = trained[1][name]!
        let kept = last.indices.filter { last[$0] != 0 }
        #expect(abs(Double(kept.count) / Double(last.count) - 0.25) < 0.01)
        let order = before.indices.sorted { abs(before[$0]) > abs(before[$1]) }
        #expect(Set(kept) == Set(order.prefix(kept.count)), "\(name)")
      }
      let final = try weights(of: out)
      #expect(final == trained[2])
    }
  }

  /// A ticket's first loss is that of the dense model's weights at that step, where they are kept.
  @Test func weightsArePutBack() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 10)
      (configuration.sparsity, configuration.rounds, configuration.rewind) = (.lottery, 1, 4)
      (configuration.density, configuration.lr, configuration.weightDecay) = (0.5, 1e-12, 0)
      configuration.schedule = .constant
      let out = folder.appendingPathComponent("out")
      _ = try train(LotteryTickets(configuration, out: out))
      // Next to no learning: what is kept is still what it was.
      let start = try #require(try TrainingConfiguration.resume(out.appendingPathComponent("start")).folder)
      let (before, after) = try (weights(of: start), weights(of: out))
      for (name, values) in after {
        for (value, old) in zip(values, before[name]!) where value != 0 { #expect(abs(value - old) < 1e-6) }
      }
    }
  }
}
