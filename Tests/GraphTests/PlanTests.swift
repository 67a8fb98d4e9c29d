import KilnGraph
import KilnKernels
import KilnTestSupport
import Testing

/// Plans: that sharing memory changes no result, and that eager nodes run when they may.
struct PlanTests {
  /// x -> gelu -> +x -> relu -> + the gelu, in which several values are used twice.
  private func record(_ graph: Graph) throws -> (all: [Value], result: Value) {
    let x = graph.input("x", TensorType([4, 8]))
    let a = try graph.record(Activate(.geluTanh), [x])[0]
    let b = try graph.record(Add(), [a, x])[0]
    let c = try graph.record(Activate(.relu), [b])[0]
    let d = try graph.record(Add(continuing: true), [c, a])[0]
    let e = try graph.record(Add(continuing: true), [d, d])[0]
    let f = try graph.record(Add(continuing: true), [x, e])[0]
    return ([a, b, c, d, e], f)
  }

  private func run(keepingAll: Bool) throws -> (values: [Float], input: [Float], bytes: Int) {
    let context = try Context(threads: 1)
    let graph = Graph()
    let (all, result) = try record(graph)
    let plan = try Planner(context: context).plan(graph, outputs: keepingAll ? all + [result] : [result])
    let session = try Session(plan, context: context, store: ParameterStore())
    let x = try #require(session.input("x"))
    x.copy(from: pseudoRandom(32, seed: 3).map { Float($0) })
    try session.run()
    return (session.tensor(of: result).floats(), x.floats(), plan.arenaBytes)
  }

  @Test func sharingMemoryChangesNothing() throws {
    let kept = try run(keepingAll: true)
    let shared = try run(keepingAll: false)
    #expect(kept.values == shared.values)
    #expect(kept.values.contains { $0 != 0 })
    #expect(shared.input == pseudoRandom(32, seed: 3).map { Float($0) }, "an input was written over")
    #expect(shared.bytes < kept.bytes)
  }

  @Test func shapesThatDoNotFitAreNamed() throws {
    let graph = Graph()
    let x = graph.input("x", TensorType([4, 8]))
    let w = graph[Parameter("w", [9, 3])]
    let error = #expect(throws: KilnError.self) {
      try graph.scope("layer") { () throws(KilnError) in try graph.record(Project(transposedWeight: false), [x, w]) }
    }
    #expect(error?.kind == .shape)
    #expect(
      error?.message == "layer: Project: inner dimensions differ: x is float32[4, 8], the weight is float32[9, 3]")
  }

  @Test func aFaultIsFoundWhereItBegins() throws {
    let context = try Context(threads: 1)
    let graph = Graph()
    let x = graph.input("x", TensorType([4]))
    let y = try graph.scope("first") { () throws(KilnError) in try graph.record(Activate(.silu), [x])[0] }
    let z = try graph.scope("second") { () throws(KilnError) in try graph.record(Add(), [y, y])[0] }
    let session = try Session(
      try Planner(context: context).plan(graph, outputs: [z]), context: context, store: ParameterStore())
    session.input("x")?.copy(from: [1, 2, .nan, 4] as [Float])
    try session.run()
    let error = #expect(throws: KilnError.self) { try session.run(checking: true) }
    #expect(error?.kind == .numerics)
    #expect(error?.message == "first: Activate gave a result that is not finite")
  }

  /// Of a feed-forward block, in both layouts of weights: the slope of the activation and the sums for the biases come out
  /// of the products of the backward.
  @Test(arguments: [false, true]) func gradientsEndInTheirProducts(_ transposed: Bool) throws {
    let graph = Graph()
    let widths = [8, 32, 8]
    var x = try graph.record(Activate(.silu), [graph[Parameter("x", [4, 8])]])[0]
    var parameters: [Parameter] = []
    for layer in 0..<2 {
      var project = Project(transposedWeight: transposed)
      project.hasBias = true
      project.activation = layer == 0 ? .geluTanh : nil
      project.keepsPreactivation = layer == 0
      let shape = [widths[layer], widths[layer + 1]]
      let weight = Parameter("w\(layer)", Shape(transposed ? shape.reversed() : shape))
      let bias = Parameter("b\(layer)", [widths[layer + 1]])
      x = try graph.record(project, [x, graph[weight], graph[bias]])[0]
      parameters += [weight, bias]
    }
    let gradients = try graph.gradients(
      of: [(x, graph.input("dx", x.type))], for: parameters + [Parameter("x", [4, 8])])
    let plan = try Planner(context: Context(threads: 1)).plan(graph, outputs: Array(gradients.values))
    let labels = plan.steps.compactMap { step in
      if case .run(let node, _) = step { graph.nodes[node].operation.label } else { nil }
    }
    // The forward as far as anything needs it, and the two activations that the backward has again rather than keep.
    #expect(labels.filter { $0 != "MatMul" }.sorted() == ["Activate", "Activate", "Activate", "Project"])
    #expect(labels.filter { $0 == "MatMul" }.count == 4)
  }

  /// A weight used twice: its gradient is one value, in fp32, and the backward converts the weight again rather than
  /// keeping what the forward made.
  @Test func weightsOfABF16StepAreConvertedWhereTheyAreUsed() throws {
    let graph = Graph(precision: .bf16)
    let weight = Parameter("w", [64, 64])
    var x = graph.input("x", TensorType([4, 64], .bfloat16))
    for _ in 0..<2 { x = try graph.record(Project(transposedWeight: true), [x, graph.weight(weight)])[0] }
    #expect(graph.nodes.filter { $0.operation is Convert }.count == 1)
    let seed = graph.input("dx", TensorType([4, 64], .bfloat16))
    let gradients = try graph.gradients(of: [(x, seed)], for: [weight])
    #expect(gradients[weight]?.type == TensorType([64, 64], .float32))
    #expect(graph.nodes.filter { $0.operation is Convert }.count == 2)
  }

  @Test func vectorsAndStoredWeightsAreNotConverted() throws {
    let graph = Graph(precision: .bf16, hasMasters: false)
    let gain = try graph.weight(Parameter("gain", [8]))
    #expect(gain.type.dtype == .float32)
    let matrix = try graph.weight(Parameter("w", [8, 8]))
    #expect(matrix.type.dtype == .bfloat16 && graph.nodes.isEmpty)
  }
}
