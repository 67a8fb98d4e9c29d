import Foundation

/// What one training run reached: a line of a file in Results/training.
public struct TrainingRun: Codable, Hashable, Sendable {
  /// What a run is known by among those of its experiment.
  public struct Key: Codable, Hashable, Sendable {
    public var task: String
    public var arm: String
    /// The peak of the learning rate; nil where the method has none but its own.
    public var lr: Double?
    public var seed: Int

    public init(task: String, arm: String, lr: Double?, seed: Int) {
      (self.task, self.arm, self.lr, self.seed) = (task, arm, lr, seed)
    }
  }

  /// The mean training loss of the steps since the point before.
  public struct Point: Codable, Hashable, Sendable {
    /// Steps taken.
    public var step: Int
    public var loss: Double
  }

  /// What runs before a run have taken.
  public struct Search: Codable, Hashable, Sendable {
    public var seconds = 0.0
    public var work = 0.0

    public init() {}

    /// Adds a run: the steps that it took, each in the time that its fastest tenth was done within.
    public mutating func add(seconds: [Double], workPerStep: Double) {
      self.seconds += TrainingRun.fast(seconds) * Double(seconds.count)
      work += workPerStep * Double(seconds.count)
    }
  }

  public var key: Key
  public var commit: String
  /// Steps that the run was to take.
  public var steps: Int
  /// Mean loss of a held-out token after the last step, in nats; nil where the run did not get there.
  public var heldOut: Double?
  /// Whether a number was not finite, or the model ended worse than a guess.
  public var diverged: Bool
  public var curve: [Point]
  /// Mean and standard deviation of the last 50 training losses.
  public var lastMean: Double
  public var lastDeviation: Double
  /// Within which the fastest tenth of the steps was done: what else the machine did meanwhile hardly shows in it.
  /// 0 where the first step failed.
  public var secondsPerStep: Double
  /// Floating-point operations of the products of a step.
  public var workPerStep: Double?
  /// Of runs before this one, which found what it trains.
  public var search: Search?
  /// CPUs that others used meanwhile.
  public var foreignLoad: Double?
  public var parameters: Int
  /// What the optimizer remembers.
  public var stateBytes: Int
  /// Weights, gradients, states and arenas, as planned.
  public var planBytes: Int

  /// - Parameters:
  ///   - losses: of every step taken, the first one first.
  ///   - seconds: that each step took.
  public init(
    _ key: Key, commit: String, steps: Int, losses: [Double], seconds: [Double], heldOut: Double?, diverged: Bool,
    parameters: Int, stateBytes: Int, planBytes: Int
  ) {
    self.key = key
    self.commit = commit
    self.steps = steps
    self.heldOut = heldOut.map(Self.rounded)
    self.diverged = diverged
    curve = Self.points(of: losses)
    let last = Statistics(losses.suffix(50))
    (lastMean, lastDeviation) = (Self.rounded(last.mean), Self.rounded(last.deviation))
    secondsPerStep = Self.rounded(Self.fast(seconds))
    self.parameters = parameters
    self.stateBytes = stateBytes
    self.planBytes = planBytes
  }

  private static func fast(_ seconds: [Double]) -> Double {
    seconds.isEmpty ? 0 : seconds.sorted()[seconds.count / 10]
  }

  /// About 30 points.
  static func points(of losses: [Double]) -> [Point] {
    let count = min(30, losses.count)
    return (0..<count).map { index in
      let (start, end) = (index * losses.count / count, (index + 1) * losses.count / count)
      return Point(step: end, loss: rounded(Statistics(losses[start..<end]).mean))
    }
  }

  /// The training loss after so many steps, in a straight line between the points; nil without any.
  func loss(atStep step: Double) -> Double? {
    guard let next = curve.firstIndex(where: { Double($0.step) >= step }) else { return curve.last?.loss }
    guard next > 0 else { return curve[next].loss }
    let (a, b) = (curve[next - 1], curve[next])
    return a.loss + (b.loss - a.loss) * (step - Double(a.step)) / Double(b.step - a.step)
  }

  /// Five decimals: a hundred thousandth of a nat, or of a second, says nothing.
  private static func rounded(_ value: Double) -> Double { (value * 1e5).rounded() / 1e5 }
}

extension TrainingRun.Key: CustomStringConvertible {
  public var description: String { "\(task) \(arm), lr \(lr.map { "\($0)" } ?? "own"), seed \(seed)" }
}

extension TrainingRun {
  /// In a line, without the key.
  public var summary: String {
    let taken = diverged ? "diverged after \(curve.last?.step ?? 0) of \(steps) steps" : "\(steps) steps"
    let loss = heldOut.map { Format.fixed($0, 3) } ?? "-"
    return "\(taken), held-out loss \(loss), \(Format.number(secondsPerStep * 1e3)) ms a step"
  }
}

/// Mean and standard deviation, the latter of a sample.
struct Statistics {
  let mean: Double
  /// 0 for one value.
  let deviation: Double

  init(_ values: some Collection<Double>) {
    let mean = values.reduce(0, +) / Double(max(values.count, 1))
    self.mean = mean
    deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(values.count - 1, 1))).squareRoot()
  }
}
