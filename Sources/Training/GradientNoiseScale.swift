/// The gradient noise scale (McCandlish et al., arXiv 1812.06162): B = S / |G|^2 for the gradient G over all data and the
/// trace S of the covariance of one sequence's gradient. A batch of B sequences takes twice the steps of the fewest
/// possible, and twice the sequences; beyond B, more sequences a step save ever fewer steps.
///
/// The expected squared norm of a mean over b sequences is |G|^2 + S / b, so that two sizes of batch, here the first
/// micro-batch and the whole batch of each step, give both; each is averaged over the steps by itself.
public struct GradientNoiseScale: Sendable, Hashable, Codable {
  /// Moving averages of S and |G|^2, from 0: their ratio needs no correction for that.
  private var noise = 0.0
  private var signal = 0.0
  private static let decay = 0.99

  public init() {}

  /// A gradient's squared norm, and how many sequences it is the mean of.
  public struct Sample: Sendable {
    public var batch: Int
    public var squaredNorm: Double

    public init(batch: Int, squaredNorm: Double) {
      self.batch = batch
      self.squaredNorm = squaredNorm
    }
  }

  /// Takes note of a step.
  public mutating func update(_ small: Sample, _ big: Sample) {
    let (b, c) = (Double(small.batch), Double(big.batch))
    let noise = (small.squaredNorm - big.squaredNorm) / (1 / b - 1 / c)
    let signal = (c * big.squaredNorm - b * small.squaredNorm) / (c - b)
    guard noise.isFinite, signal.isFinite else { return }
    self.noise += (1 - Self.decay) * (noise - self.noise)
    self.signal += (1 - Self.decay) * (signal - self.signal)
  }

  /// In sequences; nil until the averages have a sign that makes sense.
  public var sequences: Double? { noise > 0 && signal > 0 ? noise / signal : nil }

  /// What a run can have come to: for values from a file.
  var isPlausible: Bool { noise.isFinite && signal.isFinite }
}
