import KilnGraph
import KilnKernels

/// Minimises the loss and a penalty that has corners, whose proximal operator follows each gradient step: weights become
/// exactly 0 (l1), or whole rows do (group lasso). Matrices only; biases and gains have no penalty.
public struct ProximalGradient: Optimizer {
  public enum Form: Sendable, Hashable {
    /// SGD, with momentum where it is not 0.
    case sgd(momentum: Double)
    /// Accelerated (Beck & Teboulle 2009): gradients are taken beyond the last two iterates, by a share k / (k + 3) of
    /// their distance. Evaluated and saved is the iterate. Monotone (APGnc: Li et al., arXiv 1705.04925): they are only
    /// taken there if the batch's loss is smaller there, which whoever runs the steps finds out.
    case accelerated(isMonotone: Bool)

    var isAccelerated: Bool { if case .accelerated = self { true } else { false } }
  }

  public var form: Form
  public var penalty: Context.Penalty
  public let weightDecay = 0.0
  public var format: StateFormat

  public init(_ form: Form, penalty: Context.Penalty, format: StateFormat = .fp32) throws(KilnError) {
    if case .sgd(let momentum) = form { try check(momentum: momentum) }
    for (name, value) in [("l1", penalty.l1), ("group lasso", penalty.group)] {
      guard value >= 0, value.isFinite else { throw KilnError(.argument, "\(name) \(value) is not a number >= 0") }
    }
    if case .accelerated(let isMonotone) = form { try format.check(among: [.fp32], of: isMonotone ? "apgnc" : "apg") }
    self.form = form
    self.penalty = penalty
    self.format = format
  }

  public func states(of weight: Parameter) -> [Parameter] {
    switch form {
    case .sgd(momentum: 0): []
    case .sgd: format.tensors("momentum", of: weight)
    case .accelerated: [iterate(of: weight)]
    }
  }

  private func iterate(of weight: Parameter) -> Parameter { StateFormat.fp32.tensors("iterate", of: weight)[0] }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    let penalty = w.parameter.decays ? penalty : Context.Penalty()
    var momentum = 0.0
    if case .sgd(let factor) = form { momentum = factor }
    try w.context.sgd(
      w.weight, momentum: momentum > 0 ? w.state(0) : nil, w.gradient, factor: momentum, form: .plain,
      penalty: penalty, w.options)
    guard form.isAccelerated else { return }
    // At the first step the iterate of the step before is not there yet.
    let k = Double(w.options.step - 1)
    try w.context.extrapolate(w.weight, from: w.states[0], factor: k / (k + 3))
  }

  /// Of a matrix.
  public func penalty(of weight: Tensor) -> Double {
    let values = weight.floats().map(Double.init)
    let width = max(weight.shape.last, 1)
    var sum = penalty.l1 == 0 ? 0 : penalty.l1 * values.reduce(0) { $0 + abs($1) }
    for row in stride(from: 0, to: penalty.group == 0 ? 0 : values.count, by: width) {
      sum += penalty.group * values[row..<row + width].reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
    return sum
  }

  public func evaluated(_ weight: Parameter) -> EvaluatedWeight? {
    form.isAccelerated ? EvaluatedWeight(inputs: [iterate(of: weight)], operation: nil) : nil
  }

  public var summary: String {
    let parts: [(String, Double)] = [("l1", penalty.l1), ("group lasso", penalty.group)]
    var texts = parts.filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }
    if case .sgd(let momentum) = form, momentum > 0 { texts.insert("momentum \(momentum)", at: 0) }
    if let box = penalty.box { texts.append("within \(box.lowerBound) and \(box.upperBound)") }
    return texts.isEmpty ? "no penalty" : texts.joined(separator: ", ")
  }
}
