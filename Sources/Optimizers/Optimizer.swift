import KilnGraph
import KilnKernels

/// How weights follow their gradients: state slots, and the update operation of one parameter.
public protocol Optimizer: Sendable {
  /// The name on the command line.
  static var name: String { get }

  /// Names of the tensors that each parameter has as state, of its own shape.
  var slots: [String] { get }

  /// Records the update of `weight`. Everything is in place.
  /// - Parameters:
  ///   - states: one for each slot.
  ///   - lr: the learning rate of the step (float64 scalar).
  ///   - scale: multiplies the gradient (float64 scalar); the update waits for it. Where it is 0 the gradient is of no
  ///     use (it may be infinite or NaN) and the step is skipped: the update leaves weight and states as they are.
  func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError)
}

extension Optimizer {
  /// The state tensors of a parameter, in the order of the slots.
  public func states(of weight: Parameter) -> [Parameter] {
    slots.map { Parameter("optimizer.\($0).\(weight.name)", weight.shape, role: .state) }
  }
}
