import KilnGraph

/// N:M with dense weights: products take the largest N of each M, chosen anew in each step, and the gradient passes straight
/// through to all of them (STE); SR-STE (Zhou et al., arXiv 2102.04010) adds a pull towards 0 of those that are not taken,
/// which keeps the choice from flickering. What is saved has zeros where nothing is taken.
public enum StraightThrough {
  /// The pull of SR-STE, as a gradient of so many times the weight.
  public static let decay = 2e-4
}
