import CKernels

/// Finds the tile in which an OpenCL device multiplies matrices fastest, by the products of a Transformer's training.
public struct TileTuner {
  public let device: Context.Device

  /// A tile and what it came to; nil where the device cannot take it.
  public struct Finding: Sendable {
    public let tile: String
    public let flops: Double?
  }

  public init(_ device: Context.Device) { self.device = device }

  /// Measures each tile and keeps the fastest for contexts that are made from now on.
  public func run(_ onFinding: (Finding) -> Void = { _ in }) throws(KilnError) -> Finding {
    guard case .opencl = device else {
      throw KilnError(
        .argument, "the device \(device) has no tiles to choose from", hint: "give an OpenCL device: --device opencl:0")
    }
    // That there is the device at all.
    _ = try Context(device: device)
    var best: Finding?
    for tile in Context.openCLTiles {
      let finding = Finding(tile: tile, flops: try? rate(of: tile))
      onFinding(finding)
      if finding.flops ?? 0 > best?.flops ?? 0 { best = finding }
    }
    guard let best else { throw KilnError(.unsupported, "\(device) can take none of the tiles") }
    try Context(device: device, tile: best.tile).keepTile()
    return best
  }

  /// A layer of GPT-2 124M on 1024 tokens: y = x w^T, dx = dy w and dw = dy^T x.
  private static let (tokens, width, hidden) = (1024, 768, 3072)
  private static let rounds = 5

  /// Operations a second.
  private func rate(of tile: String) throws(KilnError) -> Double {
    let context = try Context(device: device, tile: tile)
    let (tokens, width, hidden) = (Self.tokens, Self.width, Self.hidden)
    let x = try Tensor(zeros: [tokens, width], .float32, on: context)
    let y = try Tensor(zeros: [tokens, hidden], .float32, on: context)
    let w = try Tensor(zeros: [hidden, width], .float32, on: context)
    let dw = try Tensor(zeros: [hidden, width], .float32, on: context)
    for tensor in [x, w] { try context.randomUniform(tensor, -1..<1, key: RandomKey(seed: 1)) }
    var (forward, weights) = (Context.GemmOptions(), Context.GemmOptions())
    (forward.transposeB, weights.transposeA) = (true, true)
    func products() throws(KilnError) {
      try context.gemm(y, x, w, forward)
      try context.gemm(x, y, w, Context.GemmOptions())
      try context.gemm(dw, y, x, weights)
      try context.finish()
    }
    try products()
    var seconds: [Double] = []
    for _ in 0..<Self.rounds {
      try context.fill(x, 1)
      try context.finish()
      let start = ContinuousClock.now
      try products()
      seconds.append((ContinuousClock.now - start) / .seconds(1))
    }
    return Double(3 * 2 * tokens * width * hidden) / seconds.sorted()[Self.rounds / 2]
  }
}
