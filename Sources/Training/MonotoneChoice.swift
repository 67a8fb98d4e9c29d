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
  private let extrapolated: LossPass
  private let iterate: LossPass

  struct Plans {
    let extrapolated: LossPlan
    let iterate: LossPlan

    /// Nil where the optimizer makes no such choice.
    init?(
      _ model: any LanguageModel, _ optimizer: any Optimizer, _ shape: TrainingStep.Shape, planner: Planner
    ) throws(KilnError) {
      guard let optimizer = optimizer as? ProximalGradient, optimizer.form == .accelerated(isMonotone: true) else {
        return nil
      }
      func plan(_ optimizer: ProximalGradient?) throws(KilnError) -> LossPlan {
        try LossPlan(
          model, batch: shape.microBatch, time: shape.time, precision: shape.precision, optimizer: optimizer,
          planner: planner)
      }
      extrapolated = try plan(nil)
      iterate = try plan(optimizer)
    }
  }

  /// Nil where the optimizer makes no such choice.
  init?(
    _ plans: Plans?, _ model: any LanguageModel, _ optimizer: any Optimizer, context: Context, store: ParameterStore,
    arena: Storage
  ) throws(KilnError) {
    guard let plans, let optimizer = optimizer as? ProximalGradient else { return nil }
    self.optimizer = optimizer
    self.store = store
    self.context = context
    weights = model.parameters
    extrapolated = try LossPass(plans.extrapolated, context: context, store: store, arena: arena)
    iterate = try LossPass(plans.iterate, context: context, store: store, arena: arena)
  }

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
    _ pass: LossPass, _ parameters: [Parameter], _ batch: Batch, _ shape: TrainingStep.Shape
  ) throws(KilnError) -> Double {
    var total = 0.0
    for parameter in parameters where parameter.shape.rank >= 2 {
      total += optimizer.penalty(of: try store.tensor(parameter))
    }
    try pass.session.forEachMicroBatch(of: batch, shape) { () throws(KilnError) in total += try pass.run() }
    return total
  }
}
