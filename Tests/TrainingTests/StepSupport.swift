import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

@testable import KilnTraining

extension TrainingStep {
  /// A step with memory of its own.
  convenience init(
    _ model: any LanguageModel, _ optimizer: any Optimizer, shape: Shape,
    rewrite: (Graph) -> Recompute? = { _ in nil }, context: Context, store: ParameterStore
  ) throws {
    let graphs = try StepGraphs(model, optimizer, shape)
    let plan = try StepPlan(
      rewrite(graphs.gradient.graph).map { graphs.rewritten(by: $0) } ?? graphs, model, optimizer,
      planner: Planner(context: context))
    let arena = try Storage(byteCount: plan.plans.map(\.arenaBytes).max() ?? 0)
    try self.init(plan, model, optimizer, context: context, store: store, arena: arena)
  }
}
