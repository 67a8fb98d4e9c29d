import KilnGraph
import KilnKernels

/// Adafactor (Shazeer & Stern, arXiv 1804.04235) in the form of transformers: of a matrix's second moments the averages
/// of rows and columns alone are kept.
public struct Adafactor: Optimizer {
  /// Steps are relative to the size of the weights and fall with their number; the learning rate multiplies them.
  /// Otherwise it is the step.
  public var relative: Bool
  public var weightDecay: Double

  public init(relative: Bool = true, weightDecay: Double = 0, format: StateFormat = .fp32) throws(KilnError) {
    try format.check(among: [.fp32], of: "adafactor")
    self.relative = relative
    self.weightDecay = weightDecay
  }

  public func states(of weight: Parameter) -> [Parameter] {
    func state(_ name: String, _ shape: Shape) -> Parameter {
      Parameter("optimizer.\(name).\(weight.name)", shape, role: .state)
    }
    guard weight.shape.rank == 2 else { return [state("exp_avg_sq", weight.shape)] }
    return [state("exp_avg_sq_row", [weight.shape[0]]), state("exp_avg_sq_col", [weight.shape[1]])]
  }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    let moment: Context.SecondMoment =
      w.states.count == 2 ? .factored(row: w.states[0], column: w.states[1]) : .full(w.states[0])
    try w.context.adafactor(w.weight, moment, w.gradient, relative: relative, w.options)
  }

  public var summary: String { (relative ? "relative steps" : "absolute steps") + ", weight decay \(weightDecay)" }
}
