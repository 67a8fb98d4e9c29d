/// EarlyBERT (Chen et al., arXiv 2101.00063): heads and neurons that matter show early in training. They are drawn after a
/// small part of it; the smaller model is then trained from its beginning, with the weights that the large one began with.
struct EarlyBERT: EarlyTicketRule {
  /// Of the steps, for the search.
  static let share = 0.1

  let step: Int

  let keepsWeights = false

  func isDrawn(_ looks: TicketLooks, done: Int) -> Bool { done >= step }
}
