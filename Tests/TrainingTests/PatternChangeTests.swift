import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// Patterns that change while their weights are trained.
struct PatternChangeTests {
  private let pattern: SparsePattern

  init() throws {
    pattern = try SparsePattern(.blocks(rows: 1, columns: 1), rows: 3, columns: 4, count: 6)
    pattern.keep([0, 2, 5, 7, 8, 9])
  }

  /// Of six the three smallest go: 0.1 of place (0, 2), -0.2 of (1, 1), 0.3 of (2, 1). The best places come, of which
  /// (1, 1) was there before.
  @Test func whatIsWeakGivesWayToLargeGradients() throws {
    let change = PatternChange(every: 1, end: 10, fraction: 0.5, anneals: false, growth: .gradient)
    let scores = PatternChange.Scores(
      kept: [1, 0.1, 0.2, 2, 3, 0.3], growth: [9, 5, 0, 0, 0, 8, 1, 9, 9, 0, 6, 1])
    #expect(change.changed(pattern, scores, at: 1) == [0, 1, 5, 7, 8, 10])
  }

  /// SET: of two negative and four positive ones half of each.
  @Test func signsGoApart() throws {
    let change = PatternChange(every: 1, end: 10, fraction: 0.5, anneals: false, growth: .random)
    let scores = PatternChange.Scores(
      kept: [1, 0.1, 0.2, 2, 3, 4], isNegative: [false, false, false, true, true, false],
      growth: [0, 5, 0, 0, 0, 0, 6, 0, 0, 0, 7, 1])
    // (0, 2) and (1, 1) of the positive ones, (1, 3) of the negative ones.
    #expect(change.changed(pattern, scores, at: 1) == [0, 1, 6, 8, 9, 10])
  }

  @Test func groupsKeepTheirNumber() throws {
    let pattern = try SparsePattern(.groups(kept: 2, of: 4), rows: 1, columns: 8, count: 4)
    pattern.keep([0, 1, 5, 7])
    let change = PatternChange(every: 1, end: 10, fraction: 0.25, anneals: false, growth: .gradient)
    let scores = PatternChange.Scores(kept: [3, 2, 1, 4], growth: [0, 0, 9, 9, 1, 0, 5, 0])
    #expect(change.changed(pattern, scores, at: 1) == [0, 1, 6, 7])
  }

  /// One node: values and states stay where both patterns keep, and are 0 where the new one alone does.
  @Test(arguments: [StateFormat.fp32, .bf16, .eightBit]) func statesGoWithTheirWeights(_ format: StateFormat) throws {
    let context = try Context(threads: 2)
    let pattern = try SparsePattern(.blocks(rows: 4, columns: 16), rows: 64, columns: 256, count: 128)
    let weight = Parameter("w", TensorType(pattern))
    let optimizer = try Adam(format: format)
    let store = ParameterStore()
    let states = optimizer.states(of: weight)
    let values = pseudoRandom(pattern.valuesShape.count, seed: 1).map(Float.init)
    try store.tensor(weight).copy(from: values)
    let moments = [1, 0].map { sign in pseudoRandom(values.count, seed: 2).map { Float(sign == 0 ? abs($0) : $0) } }
    func tensor(_ state: Int) throws -> Tensor {
      let decoded = try Tensor(zeros: pattern.valuesShape)
      if format == .eightBit {
        let parts = try states[2 * state..<2 * state + 2].map { try store.tensor($0) }
        try context.dequantizeDynamic(decoded, parts[0], scales: parts[1], signed: state == 0)
      } else {
        try context.copy(decoded, try store.tensor(states[state]))
      }
      return decoded
    }
    for (index, moment) in moments.enumerated() {
      let wide = try Tensor(moment, pattern.valuesShape)
      if format == .eightBit {
        let parts = try states[2 * index..<2 * index + 2].map { try store.tensor($0) }
        try context.quantizeDynamic(parts[0], scales: parts[1], wide, signed: index == 0)
      } else {
        try context.copy(try store.tensor(states[index]), wide)
      }
    }
    let before = try [tensor(0).floats(), tensor(1).floats()]
    let old = try pattern.copy()

    let graph = Graph()
    let gradient = graph.input("gradient", TensorType([64, 256]))
    let change = PatternChange(every: 1, end: 10, fraction: 0.3, anneals: false, growth: .gradient)
    try graph.record(
      ChangePattern(change: change, weight: weight, pattern: pattern, states: states.count),
      [graph[weight]] + states.map { graph[$0] } + [gradient])
    let session = try Session(Planner(context: context).plan(graph, outputs: []), context: context, store: store)
    let dense = pseudoRandom(64 * 256, seed: 3).map(Float.init)
    session.input("gradient")?.copy(from: dense)
    try session.run(step: 1)

    #expect(pattern.isValid)
    let (wasAt, isAt) = (old.kept, pattern.kept)
    #expect(Set(wasAt).subtracting(isAt).count > 10 && Set(wasAt).intersection(isAt).count >= 128 - 38)
    let after = try [store.tensor(weight).floats(), tensor(0).floats(), tensor(1).floats()]
    for (result, expected) in zip(after, [values] + before) {
      let scale = expected.map { abs($0) }.max() ?? 1
      for (index, place) in isAt.enumerated() {
        let known = wasAt.firstIndex(of: place)
        for i in 0..<64 {
          let value = known.map { expected[$0 * 64 + i] } ?? 0
          // Blocks of 8 bits have other scales now.
          #expect(abs(result[index * 64 + i] - value) <= (format == .eightBit ? 0.02 * scale : 0))
        }
      }
    }
    // What has gone was among the weakest, what has come among the strongest.
    func norm(_ values: ArraySlice<Float>) -> Float { values.reduce(0) { $0 + $1 * $1 } }
    let weakest = (0..<128).sorted { norm(values[$0 * 64..<$0 * 64 + 64]) < norm(values[$1 * 64..<$1 * 64 + 64]) }
    let gone = Set(weakest.prefix(38).map { wasAt[$0] })
    #expect(Set(wasAt).subtracting(isAt).isSubset(of: gone))
    func gradientNorm(_ place: Int) -> Float {
      (0..<64).reduce(0) { sum, i in
        let g = dense[(place / 16 * 4 + i / 16) * 256 + place % 16 * 16 + i % 16]
        return sum + g * g
      }
    }
    let open = (0..<256).filter { !Set(wasAt).subtracting(gone).contains($0) }
    let best = Set(open.sorted { gradientNorm($0) > gradientNorm($1) }.prefix(38))
    #expect(Set(isAt).subtracting(Set(wasAt).subtracting(gone)) == best)
  }
}
