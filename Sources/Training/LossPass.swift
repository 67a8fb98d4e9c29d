import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// The loss of a batch without gradients: a planned forward pass.
struct LossPlan {
  let plan: Plan
  fileprivate let loss: Value

  /// - Parameter optimizer: where it is given, weights are those that it says to evaluate with.
  init(
    _ model: any LanguageModel, batch: Int, time: Int, precision: Precision, hasMasters: Bool = true,
    optimizer: (any Optimizer)?, planner: Planner
  ) throws(KilnError) {
    let graph = Graph(precision: precision.forInference, hasMasters: hasMasters) { (graph, weight) throws(KilnError) in
      try optimizer?.evaluated(weight)?.value(in: graph)
    }
    loss = try model.loss(in: graph, batch: batch, time: time, mode: .inference)
    plan = try planner.plan(graph, outputs: [loss])
  }
}

/// The same with memory to run in.
struct LossPass {
  let session: Session
  private let loss: Value

  /// - Parameter arena: memory that other sessions use as well.
  init(_ plan: LossPlan, context: Context, store: ParameterStore, arena: Storage?) throws(KilnError) {
    session = try Session(plan.plan, context: context, store: store, arena: arena)
    loss = plan.loss
  }

  /// The loss of the tokens and targets that the session has been given, times its `loss_scale`.
  func run() throws(KilnError) -> Double {
    try session.run()
    return session.tensor(of: loss).scalar
  }
}
