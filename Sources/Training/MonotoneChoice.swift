import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// What makes the accelerated proximal gradient monotone (APGnc: Li et al., arXiv 1705.04925): gradients are next taken
/// at the extrapolated point only if loss and penalty of the batch are smaller there than at the iterate.
final class MonotoneChoice {
  private let optimizer: ProximalGradient
  private let weights: [Parameter]
  private let store: ParameterStore
  private let context: Context
  private let extrapolated: Forward
  private let iterate: Forward

  /// A forward pass, with its loss.
  private struct Forward {
    let session: Session
    let loss: Value

    init(
      _ model: any LanguageModel, shape: TrainingStep.Shape, context: Context, store: ParameterStore,
      substitute: Graph.Substitute?
    ) throws(KilnError) {
      let graph = Graph(precision: shape.precision, substitute: substitute)
      loss = try model.loss(in: graph, batch: shape.microBatch, time: shape.time, mode: .inference)
      let plan = try Planner(context: context).plan(graph, outputs: [loss])
      session = try Session(plan, context: context, store: store)
      session.input("positions")?.copy(from: (0..<Int32(shape.time)).map { $0 })
    }
  }

  init(
    _ model: any LanguageModel, _ optimizer: ProximalGradient, shape: TrainingStep.Shape, context: Context,
    store: ParameterStore
  ) throws(KilnError) {
    self.optimizer = optimizer
    self.store = store
    self.context = context
    weights = model.parameters
    extrapolated = try Forward(model, shape: shape, context: context, store: store, substitute: nil)
    iterate = try Forward(model, shape: shape, context: context, store: store) { (graph, weight) throws(KilnError) in
      try optimizer.evaluated(weight)?.value(in: graph)
    }
  }

  var plans: [Plan] { [extrapolated.session.plan, iterate.session.plan] }

  /// After the update for a batch.
  func run(_ batch: Batch, _ shape: TrainingStep.Shape) throws(KilnError) {
    let iterates = weights.map { optimizer.states(of: $0)[0] }
    let atIterate = try objective(iterate, iterates, batch, shape)
    let beyond = try objective(extrapolated, weights, batch, shape)
    // Also where the point beyond is not finite.
    guard !(beyond < atIterate) else { return }
    for (weight, iterate) in zip(weights, iterates) {
      try context.copy(try store.tensor(weight), try store.tensor(iterate))
    }
  }

  private func objective(
    _ forward: Forward, _ parameters: [Parameter], _ batch: Batch, _ shape: TrainingStep.Shape
  ) throws(KilnError) -> Double {
    var total = 0.0
    for parameter in parameters where parameter.shape.rank >= 2 {
      total += optimizer.penalty(of: try store.tensor(parameter))
    }
    try forward.session.forEachMicroBatch(of: batch, shape) { () throws(KilnError) in
      try forward.session.run()
      total += forward.session.tensor(of: forward.loss).scalar
    }
    return total
  }
}
