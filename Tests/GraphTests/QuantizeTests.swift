import KilnKernels
import Testing

@testable import KilnGraph

/// Scales of 8-bit floats: x in codes times scale.
struct QuantizeTests {
  /// What stands for x after each of the passes, whose largest magnitudes are given, and the scale.
  private func run(_ amax: [Float], isDelayed: Bool) throws -> [(values: [Float], scale: Float)] {
    let context = try Context(threads: 1)
    let graph = Graph()
    let x = graph.input("x", TensorType([2, 2]))
    let operand = try graph.quantize(x, .float8(.float8E4M3), history: isDelayed ? "x" : nil)
    let scales = try #require(operand.scales)
    let store = ParameterStore()
    let plan = try Planner(context: context).plan(graph, outputs: [operand.value, scales])
    let session = try Session(plan, context: context, store: store)
    return try amax.map { amax in
      try #require(session.input("x")).copy(from: [amax, -amax / 2, amax / 4, 0])
      try session.run()
      let scale = session.tensor(of: scales).floats()[0]
      let values = try Tensor(zeros: [2, 2], .float32)
      let factor = try Tensor(zeros: [1], .float32)
      factor.scalar = Double(scale)
      try context.cast(values, session.tensor(of: operand.value), scale: factor)
      return (values.floats(), scale)
    }
  }

  @Test func currentScalingIsByTheTensorItself() throws {
    for (amax, pass) in zip([Float(7), 448, 0.01], try run([7, 448, 0.01], isDelayed: false)) {
      #expect(abs(pass.scale / (amax / 448) - 1) < 1e-6)
      for (value, exact) in zip(pass.values, [amax, -amax / 2, amax / 4, 0]) {
        #expect(abs(value - exact) <= 0x1p-4 * abs(exact))
      }
    }
  }

  /// The first pass has no past; then the largest of the passes before holds, beyond which numbers saturate.
  @Test func delayedScalingIsByThePast() throws {
    let passes = try run([2, 1, 8, 4, 1], isDelayed: true)
    let expected: [Float] = [2, 2, 2, 8, 8]
    for (pass, amax) in zip(passes, expected) { #expect(abs(pass.scale / (amax / 448) - 1) < 1e-6) }
    #expect(abs(passes[2].values[0] - 2) < 1e-5, "8 with the scale of 2")
    #expect(abs(passes[3].values[0] - 4) < 0.3)
  }

  @Test func thePastEnds() throws {
    let length = Quantize.history.count - 1
    let passes = try run([8] + [Float](repeating: 1, count: length + 1), isDelayed: true)
    #expect(abs(passes[length].scale / (8 / 448) - 1) < 1e-6)
    #expect(abs(passes[length + 1].scale / (1 / 448) - 1) < 1e-6)
  }
}
