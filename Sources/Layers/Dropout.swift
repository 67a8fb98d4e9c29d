import KilnGraph
import KilnKernels

extension Value {
  /// The value with dropout where the mode has it. `site` is the place in the model, which has masks of its own.
  func droppedOut(_ mode: Mode, site: UInt32) throws(KilnError) -> Value {
    guard case .training(let probability) = mode, probability > 0 else { return self }
    return try graph.record(Dropout(probability: probability, site: site), [self])[0]
  }
}

extension Linear {
  /// x + dropout(projection of branch): how a branch joins the residual stream. One kernel where nothing is dropped.
  func callAsFunction(_ branch: Value, addedTo x: Value, mode: Mode, site: UInt32) throws(KilnError) -> Value {
    guard case .training(let probability) = mode, probability > 0 else { return try self(branch, residual: x) }
    return try x.graph.record(Add(), [try self(branch).droppedOut(mode, site: site), x])[0]
  }
}
