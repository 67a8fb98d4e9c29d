import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// The loss of a batch without gradients: a planned forward pass.
struct LossPass {
  let session: Session
  private let loss: Value

  /// - Parameter optimizer: where it is given, weights are those that it says to evaluate with.
  init(
    _ model: any LanguageModel, batch: Int, time: Int, precision: Precision, hasMasters: Bool = true,
    optimizer: (any Optimizer)?, context: Context, store: ParameterStore
  ) throws(KilnError) {
    let graph = Graph(precision: precision.forInference, hasMasters: hasMasters) { (graph, weight) throws(KilnError) in
      try optimizer?.evaluated(weight)?.value(in: graph)
    }
    loss = try model.loss(in: graph, batch: batch, time: time, mode: .inference)
    session = try Session(try Planner(context: context).plan(graph, outputs: [loss]), context: context, store: store)
    session.input("positions")?.copy(from: (0..<Int32(time)).map { $0 })
  }

  /// The loss of the tokens and targets that the session has been given, times its `loss_scale`.
  func run() throws(KilnError) -> Double {
    try session.run()
    return session.tensor(of: loss).scalar
  }
}
