import KilnKernels

/// Early-Bird tickets (You et al., arXiv 1909.11957): what would be kept is looked at again and again while the model is
/// trained, and drawn as soon as it stays the same. The rest of the training goes on with that alone, from the weights
/// that it has by then.
struct EarlyBird: EarlyTicketRule {
  /// Looks that are compared with the newest, and itself.
  static let window = 5
  /// The largest share of units in which any two of them may differ.
  static let tolerance = 0.1

  /// Where it is drawn in any case.
  let latest: Int

  let keepsWeights = true

  func isDrawn(_ looks: TicketLooks, done: Int) -> Bool {
    done >= latest || looks.distances.count >= Self.window - 1 && looks.distances.allSatisfy { $0 <= Self.tolerance }
  }
}
