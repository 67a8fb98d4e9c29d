import KilnGraph
import KilnKernels

/// How an optimizer keeps what it remembers of a weight; see the table in `kiln/optim.h`.
public enum StateFormat: String, Sendable, Hashable, Codable, CaseIterable {
  case fp32
  case bf16
  /// bf16 by stochastic rounding: right on average, so that small changes are not lost.
  case stochastic = "bf16-sr"
  /// Codes of a dynamic map in blocks of 256 (Dettmers et al., arXiv 2110.02861). Small tensors stay in fp32.
  case eightBit = "8bit"
  /// The same with squares in equal steps, where small ones are lost: what the dynamic map is held against.
  case linear = "8bit-linear"

  static let block = 256
  private static let leastElements = 4096

  /// The tensors of one state of a weight's shape.
  func tensors(_ name: String, of weight: Parameter) -> [Parameter] {
    func tensor(_ part: String, _ shape: Shape, _ dtype: DType) -> Parameter {
      Parameter("optimizer.\(name)\(part).\(weight.name)", shape, dtype, role: .state)
    }
    switch self {
    case .fp32: return [tensor("", weight.shape, .float32)]
    case .bf16, .stochastic: return [tensor("", weight.shape, .bfloat16)]
    case .eightBit, .linear:
      let count = weight.shape.count
      guard count >= Self.leastElements else { return [tensor("", weight.shape, .float32)] }
      let blocks = (count + Self.block - 1) / Self.block
      return [tensor("", weight.shape, .uint8), tensor(".scales", [blocks], .float32)]
    }
  }

  /// Refuses formats that a method does not have.
  func check(among allowed: [StateFormat], of method: String) throws(KilnError) {
    guard !allowed.contains(self) else { return }
    throw KilnError(
      .argument, "--optimizer \(method) does not keep its state in \(rawValue)",
      hint: "use --optimizer-state " + allowed.map(\.rawValue).joined(separator: " or "))
  }
}

extension WeightUpdate {
  /// State number k, of which each may be one tensor or two.
  func state(_ k: Int) -> OptimizerState {
    var at = 0
    for _ in 0..<k { at += states[at].dtype == .uint8 ? 2 : 1 }
    return OptimizerState(states[at], scales: states[at].dtype == .uint8 ? states[at + 1] : nil)
  }
}
