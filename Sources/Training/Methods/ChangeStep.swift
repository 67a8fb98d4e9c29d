import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

extension PatternChange {
  /// A step of changes as a graph.
  struct Recorded {
    let change: PatternChange
    let graph: Graph
    /// Where gradients say what grows.
    let loss: Value?

    func plan(_ planner: Planner) throws(KilnError) -> Planned {
      Planned(change: change, plan: try planner.plan(graph, outputs: [loss].compactMap { $0 }), loss: loss)
    }
  }

  struct Planned {
    let change: PatternChange
    let plan: Plan
    let loss: Value?
  }

  /// Records a change of every sparse weight. Where it is by gradients the loss comes first, with dense weights in the
  /// products; each gradient is used up as soon as it is there, and all between layers runs again in the backward, so that
  /// no more memory is taken than by a step that updates.
  func record(
    _ model: any LanguageModel, _ optimizer: any Optimizer, _ shape: TrainingStep.Shape
  ) throws(KilnError) -> Recorded {
    let weights = model.parameters.filter { $0.type.pattern != nil }
    let graph = Graph(precision: shape.precision, hasMasters: shape.hasMasters, densifies: true)
    guard growth == .gradient else {
      for weight in weights {
        let whole = growth == .magnitude ? weight.whole.map { graph[$0] } : nil
        try add(graph[kept(weight, shape)], weight, optimizer, shape, whole)
      }
      return Recorded(change: self, graph: graph, loss: nil)
    }
    let loss = try model.loss(
      in: graph, batch: shape.microBatch, time: shape.time, mode: .training(dropout: shape.dropout))
    var dense: [(weight: Parameter, value: Value)] = []
    for weight in weights {
      if let value = try graph.densified(weight) { dense.append((weight, value)) }
    }
    let gradients = try graph.gradients(of: [(loss, graph.unit)], for: dense.map(\.value))
    for (weight, value) in dense {
      try add(graph[kept(weight, shape)], weight, optimizer, shape, gradients[value])
    }
    guard let rewrite = Recomputation.every(1).rewrite(of: graph) else {
      return Recorded(change: self, graph: graph, loss: loss)
    }
    let rewritten = rewrite.apply(to: graph)
    return Recorded(change: self, graph: rewritten.graph, loss: rewritten[loss])
  }

  /// The weight as it is kept between steps.
  private func kept(_ weight: Parameter, _ shape: TrainingStep.Shape) -> Parameter {
    shape.hasMasters ? weight : shape.precision.operand(weight)
  }

  private func add(
    _ values: Value, _ weight: Parameter, _ optimizer: any Optimizer, _ shape: TrainingStep.Shape,
    _ matrix: Value?
  ) throws(KilnError) {
    guard let pattern = weight.type.pattern else { return }
    let states = optimizer.states(of: kept(weight, shape)).map { values.graph[$0] }
    let operation = ChangePattern(change: self, weight: weight, pattern: pattern, states: states.count)
    try values.graph.record(operation, [values] + states + [matrix].compactMap { $0 })
  }
}

extension SparsePattern {
  /// A matrix by rows with zeros where nothing is kept.
  func masking(_ values: [Float]) -> [Float] {
    var result = [Float](repeating: 0, count: values.count)
    let block = format.block
    for place in kept {
      let (top, left) = (place / blocks.columns * block.rows, place % blocks.columns * block.columns)
      for row in top..<min(top + block.rows, rows) {
        for column in left..<min(left + block.columns, columns) {
          result[row * columns + column] = values[row * columns + column]
        }
      }
    }
    return result
  }
}
