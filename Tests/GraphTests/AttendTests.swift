import KilnGraph
import KilnKernels
import KilnTestSupport
import Testing

/// The options of attention reach its forward and its backward: where a query sees its own place alone, o is v.
struct AttendTests {
  private let time = 10
  private let width = 8  // 2 heads of 4

  /// q, k and v packed as `parameter`; the output, and the gradient of the sum of output times `weights`.
  private func run(_ attend: Attend, offsets: [Int32]? = nil) throws -> (x: [Float], o: [Float], gradient: [Float]) {
    let context = try Context(threads: 1)
    let graph = Graph()
    let parameter = Parameter("x", [1, time, 3 * width])
    let weights = graph.input("weights", TensorType([1, time, width]))
    let bounds = offsets.map { [graph.input("offsets", TensorType([1, $0.count], .int32))] } ?? []
    let o = try graph.record(attend, [graph[parameter]] + bounds)[0]
    let gradient = try #require(try graph.gradients(of: [(o, weights)], for: [parameter])[parameter])
    let store = ParameterStore()
    let x = try store.tensor(parameter)
    x.copy(from: pseudoRandom(time * 3 * width, seed: 1).map { Float($0) })
    let session = try Session(
      try Planner(context: context).plan(graph, outputs: [o, gradient]), context: context, store: store)
    try #require(session.input("weights")).copy(from: self.weights)
    if let offsets { try #require(session.input("offsets")).copy(from: offsets) }
    try session.run()
    return (x.floats(), session.tensor(of: o).floats(), session.tensor(of: gradient).floats())
  }

  private var weights: [Float] { pseudoRandom(time * width, seed: 2).map { Float($0) } }

  /// Checks that each of the first `count` places sees itself alone, and the others nothing.
  private func expectOwnPlaces(_ result: (x: [Float], o: [Float], gradient: [Float]), count: Int) {
    for place in 0..<time {
      let packed = place * 3 * width..<(place + 1) * 3 * width
      let own = place * width..<(place + 1) * width
      let sees = place < count
      #expect(
        Array(result.o[own]) == (sees ? Array(result.x[packed].suffix(width)) : .init(repeating: 0, count: width)))
      #expect(result.gradient[packed].prefix(2 * width).allSatisfy { abs($0) < 1e-6 })
      let values = zip(result.gradient[packed].suffix(width), weights[own])
      #expect(values.allSatisfy { sees ? abs($0 - $1) < 1e-6 : $0 == 0 })
    }
  }

  @Test func aWindowOfOne() throws {
    expectOwnPlaces(try run(Attend(heads: 2, kvHeads: 2, window: 1, packed: true)), count: time)
  }

  @Test func sequencesOfOne() throws {
    expectOwnPlaces(
      try run(Attend(heads: 2, kvHeads: 2, causal: false, packed: true), offsets: [0, 1, 2, 3, 4, 5, 6, 7, 7]), count: 7
    )
  }

  @Test func offsetsThatDoNotFitAreNamed() throws {
    let graph = Graph()
    let x = graph.input("x", TensorType([2, 10, 24]))
    let offsets = graph.input("offsets", TensorType([1, 3], .int32))
    let error = #expect(throws: KilnError.self) {
      try graph.record(Attend(heads: 2, kvHeads: 2, packed: true), [x, offsets])
    }
    #expect(error?.message.contains("offsets are int32[1, 3], not int32[2, sequences + 1]") == true)
  }
}
