// How cost grows: the time of a step with tokens, layers and context, and that of planning with layers. All should be
// linear but for attention, so each line shows its time by the unit that grew.

import Harness
import Kiln

enum GrowthFamily: Family {
  static let name = "growth"
  private static let shape = ModelShape(layers: 4, width: 256, heads: 4, vocabulary: 256)

  static func cases(_ setup: Setup) -> [Case] {
    let tokens = [4, 8, 16, 32].map { batch in
      step(setup, "step, \(batch * 256) tokens of context 256", layers: 4, batch: batch, time: 256, by: "token")
    }
    let layers = [2, 4, 8, 16].map { layers in
      step(setup, "step, \(layers) layers", layers: layers, batch: 8, time: 256, by: "layer")
    }
    let context = [256, 512, 1024, 2048].map { time in
      step(setup, "step, context \(time), 4096 tokens", layers: 4, batch: 4096 / time, time: time, by: "token")
    }
    return tokens + layers + context + [6, 12, 24, 48].map { planning(setup, layers: $0) }
  }

  private static func step(_ setup: Setup, _ name: String, layers: Int, batch: Int, time: Int, by unit: String) -> Case
  {
    var shape = shape
    shape.layers = layers
    var item = StepFamily.item("", shape, batch: batch, time: time, .float32, setup)
    (item.family, item.name, item.work) = (self.name, name, nil)
    let count = Double(unit == "layer" ? layers : batch * time)
    item.figures = { figures($0, count, unit) }
    return item
  }

  /// Recording a training step of GPT-2 124M's shape, its gradients and updates, and placing its tensors.
  private static func planning(_ setup: Setup, layers: Int) -> Case {
    var item = Case(
      name, "planning, \(layers) layers", Cost(),
      contenders: [
        KernelContender(on: setup.context) {
          let model = ModelConfiguration.gpt2(try GPT2Configuration(layers: layers)).makeModel()
          var plan: Plan?
          return Kernel(
            run: { plan = try Self.plan(model, setup.context) },
            check: {
              guard let plan, plan.arenaBytes >= plan.lowerBound, plan.lowerBound > 0 else {
                throw BenchFailure("the plan has no memory")
              }
            })
        }
      ])
    item.figures = { figures($0, Double(layers), "layer") }
    return item
  }

  private static func plan(_ model: any LanguageModel, _ context: Context) throws -> Plan {
    let graph = Graph()
    let loss = try model.loss(in: graph, batch: 4, time: 1024, mode: .training(dropout: 0))
    let optimizer = try Adam(betas: (0.9, 0.95), eps: 1e-8, weightDecay: 0.1, decoupled: true)
    let lr = graph.input("lr", .scalar(.float64))
    let scale = graph.input("scale", .scalar(.float64))
    let gradients = try graph.gradients(of: [(loss, graph.unit)], for: model.parameters)
    for (parameter, gradient) in gradients.sorted(by: { $0.value.id < $1.value.id }) {
      try optimizer.record(parameter, gradient: gradient, lr: lr, scale: scale)
    }
    return try Planner(context: context).plan(graph, outputs: [loss])
  }

  private static func figures(_ result: CaseResult, _ count: Double, _ unit: String) -> [Figure] {
    guard let seconds = result.contenders[0].seconds else { return [] }
    return [Figure("by \(unit)", seconds.median / count * 1e6, "us")]
  }
}
