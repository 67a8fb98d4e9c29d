import Foundation
import KilnGraph
import KilnKernels
import KilnLayers

/// SynFlow (Tanaka et al., arXiv 2006.05467): keeps the weights through which most flows in the network of magnitudes,
/// |w| dR/d|w| where R is the sum of its outputs for an input of ones; in rounds, each of which keeps the same share of
/// what is left, so that no layer is emptied. No data is needed.
public struct SynFlow: SparsityMethod {
  public var rounds: Int

  public init(rounds: Int = 100) { self.rounds = rounds }

  public var layerDensity: LayerDensity { .global }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    let flow = try LinearFlow(choice.probe)
    var weights = try Self.magnitudes(choice.probe)
    var patterns: SparsePatterns = [:]
    for round in 1...rounds {
      let gradients = try flow.gradients(at: weights)
      let scores = choice.layers.map { layer in
        let (w, g) = (weights[layer.name]!, gradients[layer.name]!)
        return layer.blockSums(choice.format) { w[$0] * g[$0] }
      }
      patterns = try choice.keeping(pow(choice.density, Double(round) / Double(rounds))).patterns(keeping: scores)
      for (name, pattern) in patterns { weights[name] = pattern.masking(weights[name]!) }
    }
    return patterns
  }

  /// |w| divided by its mean and by the root of its count, so that a row's sum is about 1.
  static func magnitudes(_ probe: DenseProbe) throws(KilnError) -> [String: [Float]] {
    try probe.weights().mapValues { weights in
      let mean = weights.reduce(0) { $0 + Double(abs($1)) } / Double(max(weights.count, 1))
      return weights.map { abs($0) / Float(max(mean * Double(weights.count).squareRoot(), .leastNormalMagnitude)) }
    }
  }
}

/// A model made linear: biases and positions are 0, norms, rotations and activations pass what they are given, attention
/// passes the sum of queries, keys and values, a gated unit that of both. Each matrix comes divided so that numbers stay
/// finite, as the norms would see to.
struct LinearFlow {
  private let probe: DenseProbe
  private let session: Session
  private let store = ParameterStore()
  private let gradients: [Parameter: Value]

  init(_ probe: DenseProbe) throws(KilnError) {
    self.probe = probe
    let recorded = Graph()
    let hidden = try probe.model.hidden(
      recorded.input("tokens", TensorType([1, 1], .int32)),
      positions: recorded.input("positions", TensorType([1], .int32)),
      mode: .inference, cache: nil)
    let graph = Graph()
    let output = try Self.linear(recorded, in: graph)[hidden.id]
    guard let output else { throw KilnError(.unsupported, "the model has no output to look at") }
    gradients = try graph.gradients(of: [(output, graph.input("ones", output.type))], for: probe.projections)
    let plan = try Planner(context: probe.context).plan(graph, outputs: Array(gradients.values))
    for parameter in plan.parameters where parameter.role == .weight {
      let tensor = try store.tensor(parameter)
      // Tokens are ones; positions and biases stay 0.
      if parameter == probe.model.parameters.first { try probe.context.fill(tensor, 1) }
      if let sum = Self.Sum(parameter) { tensor.copy(from: sum.values) }
    }
    session = try Session(plan, context: probe.context, store: store)
  }

  /// The gradients of R, by name.
  func gradients(at weights: [String: [Float]]) throws(KilnError) -> [String: [Float]] {
    try probe.set(weights, in: store)
    if let ones = session.input("ones") { try probe.context.fill(ones, 1) }
    session.input("tokens")?.copy(from: [Int32(0)])
    session.input("positions")?.copy(from: [Int32(0)])
    try session.run()
    return try probe.byName { gradients[$0].map(session.tensor) }
  }

  /// What the values of a recorded model become.
  private static func linear(_ recorded: Graph, in graph: Graph) throws(KilnError) -> [Int: Value] {
    var values: [Int: Value] = [:]
    for (id, source) in recorded.sources.enumerated() {
      switch source {
      case .input(let name): values[id] = graph.input(name, recorded.types[id])
      case .parameter(let parameter): values[id] = graph[parameter]
      case .node: break
      }
    }
    for node in recorded.nodes {
      let inputs = node.inputs.compactMap { values[$0.id] }
      switch node.operation {
      case is Normalize, is Rotate, is Activate: values[node.outputs[0].id] = inputs[0]
      case is SwiGLU: values[node.outputs[0].id] = try graph.record(Add(), inputs)[0]
      case let attention as Attend: values[node.outputs[0].id] = try sum(attention, inputs, in: graph)
      case let project as Project:
        var plain = Project(transposedWeight: project.transposedWeight)
        plain.hasResidual = project.hasResidual
        values[node.outputs[0].id] = try graph.record(
          plain, Array(inputs[0..<2]) + (project.hasResidual ? [inputs[project.hasBias ? 3 : 2]] : []))[0]
      default:
        for (output, value) in zip(node.outputs, try graph.record(node.operation, inputs)) { values[output.id] = value }
      }
    }
    return values
  }

  /// Queries, keys and values added up; where several heads share keys and values, for each of them.
  private static func sum(_ attention: Attend, _ inputs: [Value], in graph: Graph) throws(KilnError) -> Value {
    let width = attention.packed ? inputs[0].shape.last / 3 : inputs[0].shape.last
    let head = width / attention.heads
    guard !attention.packed else {
      let parts = Sum(parts: 3, heads: attention.heads, sharing: 1, width: head)
      return try graph.record(Project(transposedWeight: true), [inputs[0], graph[parts.parameter]])[0]
    }
    let spread = Sum(parts: 1, heads: attention.kvHeads, sharing: attention.heads / attention.kvHeads, width: head)
    var project = Project(transposedWeight: true)
    project.hasResidual = true
    let withKeys = try graph.record(project, [inputs[1], graph[spread.parameter], inputs[0]])[0]
    return try graph.record(project, [inputs[2], graph[spread.parameter], withKeys])[0]
  }

  /// A matrix of zeros and ones that adds up parts side by side and gives each head's to those that share it.
  private struct Sum {
    let parts, heads, sharing, width: Int

    init(parts: Int, heads: Int, sharing: Int, width: Int) {
      (self.parts, self.heads, self.sharing, self.width) = (parts, heads, sharing, width)
    }

    init?(_ parameter: Parameter) {
      let numbers = parameter.name.split(separator: " ").dropFirst().compactMap { Int($0) }
      guard parameter.name.hasPrefix("sum "), numbers.count == 4 else { return nil }
      self.init(parts: numbers[0], heads: numbers[1], sharing: numbers[2], width: numbers[3])
    }

    var parameter: Parameter {
      Parameter("sum \(parts) \(heads) \(sharing) \(width)", [heads * sharing * width, parts * heads * width])
    }

    var values: [Float] {
      (0..<heads * sharing * width).flatMap { row in
        (0..<parts * heads * width).map { column in
          column % (heads * width) == row / (sharing * width) * width + row % width ? 1 : 0
        }
      }
    }
  }
}
