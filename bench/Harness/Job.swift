/// A piece of work in words that any contender understands: what a peer is sent as one JSON object.
public struct Job: Codable, Hashable, Sendable {
  public enum Kind: String, Codable, Sendable, CaseIterable {
    case gemm, attention, loss, norm, activation, adamw, step, generation
  }
  /// The type of weights and activations.
  public enum DType: String, Codable, Sendable, CaseIterable {
    case float32, bfloat16
    /// Products alone, with sums in int32 or fp32.
    case int8

    public static let floats = [float32, bfloat16]

    /// Bytes of an element.
    public var size: Int { self == .float32 ? 4 : self == .bfloat16 ? 2 : 1 }
    /// As tables call it.
    public var label: String { self == .float32 ? "fp32" : self == .bfloat16 ? "bf16" : "int8" }
  }

  public var kind: Kind
  public var op: String?
  public var dtype: DType?
  public var m, n, k: Int?
  public var batch, heads, time, width, layers: Int?
  public var rows, channels, vocabulary: Int?
  public var count, tokens: Int?

  enum CodingKeys: String, CodingKey {
    case kind = "work"
    case op, dtype, m, n, k, batch, heads, time, width, layers, rows, channels, vocabulary, count, tokens
  }

  public init(_ kind: Kind, op: String? = nil, dtype: DType? = nil, _ fill: (inout Job) -> Void) {
    self.kind = kind
    self.op = op
    self.dtype = dtype
    fill(&self)
  }
}
