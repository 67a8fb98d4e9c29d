import Foundation
import KilnKernels

/// One line of metrics.jsonl: a training step, or an evaluation after one.
public struct StepMetrics: Sendable, Hashable, Codable {
  /// Counted from 0.
  public var step: Int
  /// Mean token loss of this step's batch, before the update.
  public var loss: Double
  /// Global norm of the gradient, before clipping; nil where it was not finite and the step was skipped
  /// (fp16), or where patterns of sparse weights changed in place of an update.
  public var gradNorm: Double?
  public var lr: Double
  /// Tokens trained on up to and with this step.
  public var tokens: Int
  /// Seconds of training up to and with this step.
  public var seconds: Double
  public var tokensPerSecond: Double
  /// The most memory the process has had, in bytes.
  public var peakBytes: Int
  /// What the loss was multiplied by, where it is scaled (fp16).
  public var lossScale: Double?
  /// The gradient noise scale so far, in sequences, where a batch has several micro-batches.
  public var noiseScale: Double?
  /// Mean token loss on the held-out data after this step, where it was evaluated.
  public var evalLoss: Double?
  public var evalBitsPerByte: Double?

  enum CodingKeys: String, CodingKey {
    case step, loss, lr, tokens, seconds
    case gradNorm = "grad_norm"
    case tokensPerSecond = "tokens_per_second"
    case peakBytes = "peak_bytes"
    case lossScale = "loss_scale"
    case noiseScale = "gradient_noise_scale"
    case evalLoss = "eval_loss"
    case evalBitsPerByte = "eval_bits_per_byte"
  }
}

/// What a run was, for people: the report's table.
public struct RunSummary: Sendable, Hashable, Codable {
  /// Rows of (what, value) in the order to show.
  public var rows: [Row]
  /// Text that the trained model wrote, if any.
  public var sample: String?
  /// Bits per byte of the training text's byte frequencies: what a model must beat.
  public var unigramBitsPerByte: Double?

  public struct Row: Sendable, Hashable, Codable {
    public var name: String
    public var value: String
    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  public init(rows: [Row], sample: String? = nil, unigramBitsPerByte: Double? = nil) {
    self.rows = rows
    self.sample = sample
    self.unigramBitsPerByte = unigramBitsPerByte
  }
}
