import Foundation
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// Everything that decides what a run computes. A checkpoint carries it, and a resumed run goes by it.
///
/// The properties are the long flags of `kiln train` (`grad-clip` is `gradClip`), with the same defaults.
public struct TrainingConfiguration: Sendable, Hashable, Codable {
  public enum Architecture: String, Sendable, Hashable, Codable, CaseIterable { case gpt2, llama }
  public enum Order: String, Sendable, Hashable, Codable, CaseIterable { case shuffled, sequential }
  public enum OptimizerName: String, Sendable, Hashable, Codable, CaseIterable {
    case sgd, momentum, nesterov
    case heavyBall = "heavy-ball"
    case adam, adamw, lion, lars, lamb, adafactor, muon
    case scheduleFree = "schedule-free"
    case proximalSGD = "proximal-sgd"
    case apg, apgnc

    /// Which of the flags mean something to it.
    public var hasMomentum: Bool { [.momentum, .nesterov, .heavyBall, .lars, .muon, .proximalSGD].contains(self) }
    public var hasBetas: Bool { [.adam, .adamw, .lion, .lamb, .muon, .scheduleFree].contains(self) }
    public var hasEps: Bool { [.adam, .adamw, .lamb, .muon, .scheduleFree].contains(self) }
    public var hasWeightDecay: Bool { !hasPenalty }
    public var worksWithoutMasters: Bool { ![.adafactor, .scheduleFree].contains(self) && !hasPenalty }
    public var keepsSquaresInBlocks: Bool { [.adam, .adamw, .muon].contains(self) }
    /// Whether nothing but updates needs its states.
    public var canOffloadStates: Bool { ![.scheduleFree, .apg, .apgnc].contains(self) }
    public var hasPenalty: Bool { [.proximalSGD, .apg, .apgnc].contains(self) }
  }

  public enum Offload: String, Sendable, Hashable, Codable, CaseIterable {
    /// The optimizer's, in tiles that pass through the device.
    case states
    /// Between the forward and the backward.
    case activations
    /// Masters, states and the update, which the host then makes.
    case optimizer
  }
  public enum Sparsity: String, Sendable, Hashable, Codable, CaseIterable {
    case random, magnitude, snip, grasp, synflow, lottery, set, rigl, pixelfly, monarch, ste
    case earlyBird = "early-bird"
    case earlyBERT = "earlybert"
    case topKAST = "top-kast"
    case srSTE = "sr-ste"

    /// Whether patterns change in training.
    public var isDynamic: Bool { [.set, .rigl, .topKAST].contains(self) }
    /// Whether shapes alone say what is kept.
    public var isFixed: Bool { self == .pixelfly || self == .monarch }
    /// What is kept or not as a whole, where nobody says.
    var defaultBlock: SparsePattern.Format? { self == .pixelfly ? .blocks(rows: 32, columns: 32) : nil }
    /// Whether it trains a dense model for a while, and then a smaller one.
    public var isEarly: Bool { self == .earlyBird || self == .earlyBERT }
    /// Whether it takes several runs, one after the other.
    public var isTicket: Bool { self == .lottery || isEarly }
    /// Whether weights stay dense, and products take a part of them.
    public var isMasked: Bool { self == .ste || self == .srSTE }
  }
  public enum Allowance: String, Sendable, Hashable, Codable, CaseIterable { case lossy }

  // Data
  public var data: [String] = []
  public var tokenizer: String?
  public var evalData: String?
  public var order = Order.shuffled

  // A new model, or a pretrained one
  public var model: String?
  public var arch: Architecture?
  public var layers: Int?
  public var heads: Int?
  public var kvHeads: Int?
  public var width: Int?
  public var hidden: Int?
  public var vocabSize: Int?
  public var dropout: Double = 0

  // The batch and the length of the run
  public var context: Int?
  public var batch = 16
  public var microBatch: Int?
  public var steps: Int?
  public var epochs: Double?
  public var maxTime: Double?
  /// Steps that count as done already: the schedule, the data and random numbers go on from there.
  public var startStep: Int?

  // The method
  public var optimizer = OptimizerName.adamw
  public var lr: Double?
  public var lrScaling = LearningRateScaling.none
  public var optimizerState = StateFormat.fp32
  public var master = MasterWeights.fp32
  public var betas: [Double]?
  public var eps: Double?
  public var momentum: Double?
  public var weightDecay: Double?
  public var l1: Double?
  public var groupLasso: Double?
  public var box: [Double]?
  public var gradClip = 1.0
  public var schedule: Schedule.Shape?
  public var warmup: Int?
  public var seed: UInt64 = 0
  public var precision = Precision.fp32

  // Memory
  /// Bytes that the process may take; nil for what is fastest.
  public var memory: Int?
  public var recompute: Recomputation?
  /// Bits that activations keep from the forward to the backward; nil for all.
  public var compressActivations: ActivationBits?
  /// Bytes that tensors on the device may take; nil for all there is.
  public var deviceMemory: Int?
  /// What lies behind the device between its uses: in this folder, or else in the host's memory.
  public var offload: [Offload] = []
  public var disk: String?
  /// Steps before the host's updates go on beside the next step; nil for never.
  public var delayUpdate: Int?
  /// What a budget may be kept by, beyond what leaves the numbers alone.
  public var allow: Allowance?

  // Sparse weights
  /// How the weights that are kept are found; nil for dense ones.
  public var sparsity: Sparsity?
  /// The share of each model's projections that is kept.
  public var density: Double?
  /// What is kept or not as a whole.
  public var block: SparsePattern.Format?
  public var layerDensity: LayerDensity?
  /// The share that is trained, of which `density` is a part.
  public var backwardDensity: Double?
  /// Steps between changes of patterns, the share of what is kept that changes, and for which share of the steps.
  public var patternEvery: Int?
  public var dropFraction: Double?
  public var patternUntil: Double?
  /// The model whose magnitudes say what is kept.
  public var patternFrom: String?
  /// What pulls masked weights towards 0.
  public var maskDecay: Double?
  /// Of what Pixelfly adds to sparse weights, and in how many blocks Monarch cuts each of two matrices.
  public var rank: Int?
  public var monarchBlocks: Int?
  /// Of a lottery ticket: how often it is pruned, the step that it is put back to, and what is put back.
  public var rounds: Int?
  public var rewind: Int?
  public var rewinding: LotteryTickets.Rewinding?
  /// Of an early ticket: the step when it is drawn at the latest.
  public var drawStep: Int?
  /// The penalty on factors of heads and neurons, which are learned; nil for none.
  public var slimming: Double?

  // Saving and looking
  public var saveEvery: Int?
  public var keep = 2
  public var evalEvery: Int?

  public init() {}
}

extension TrainingConfiguration {
  public static let defaultSteps = 1000
  /// The batch that learning rates are for where they are scaled.
  public static let baseBatch = 16
  public static let defaultContext = 256
  public static let defaultSaveEvery = 500

  /// Where tensors lie that are offloaded: by default behind the device, where it is one with a memory of its own.
  var offloadPlace: BackingStore.Place {
    if let disk { return .disk(URL(fileURLWithPath: disk)) }
    return deviceMemory == nil ? .disk(FileManager.default.temporaryDirectory) : .host
  }

  /// Whether the device keeps fp32 weights where products take narrow ones.
  var hasMasters: Bool { master == .fp32 && !offload.contains(.optimizer) }

  /// Steps of the run: as given, or as many as the epochs take, or 1000; nil where nothing but time ends it.
  func steps(sequences: Int) -> Int? {
    if let steps { return steps }
    if let epochs { return max(1, Int((epochs * Double(sequences) / Double(batch)).rounded(.up))) }
    return maxTime == nil ? Self.defaultSteps : nil
  }

  /// The learning rate over the steps; the warm-up is a tenth of them, at most 100, unless given (20 in a run that time
  /// ends, whose schedule follows the clock).
  func rates(steps: Int?) throws(KilnError) -> Schedule {
    let peak = peakRate * lrScaling.factor(batch: batch, base: Self.baseBatch)
    return try Schedule(
      schedule ?? (optimizer == .scheduleFree ? .constant : .cosine), peak: peak,
      warmup: warmup ?? steps.map { min(100, $0 / 10) } ?? 20, steps: steps ?? .max)
  }

  /// The configuration of a new model whose vocabulary has at least `vocabulary` tokens.
  /// - Parameter endOfText: the token that ends a text, where the tokenizer has one.
  func newModel(vocabulary: Int, endOfText: Int32?) throws(KilnError) -> ModelConfiguration {
    let size = vocabSize ?? vocabulary
    guard size >= vocabulary else {
      throw KilnError(
        .argument, "--vocab-size \(size) is smaller than the tokenizer's vocabulary of \(vocabulary)",
        hint: "leave --vocab-size out, or give at least \(vocabulary)")
    }
    let width = width ?? 256
    let layers = layers ?? 4
    let heads = heads ?? max(1, width / 64)
    let context = context ?? Self.defaultContext
    let end = endOfText.map { [Int($0)] } ?? []
    switch arch ?? .gpt2 {
    case .gpt2:
      if let kvHeads, kvHeads != heads {
        throw KilnError(.argument, "--kv-heads \(kvHeads) means nothing to GPT-2", hint: "use --arch llama")
      }
      return .gpt2(
        try GPT2Configuration(
          vocabularySize: size, contextLength: context, width: width, layers: layers, heads: heads, hidden: hidden,
          residualDropout: dropout, embeddingDropout: dropout, attentionDropout: 0, bosToken: end.first, eosTokens: end)
      )
    case .llama:
      return .llama(
        try LlamaConfiguration(
          vocabularySize: size, contextLength: context, width: width, hidden: hidden ?? (8 * width / 3 + 31) / 32 * 32,
          layers: layers, heads: heads, kvHeads: kvHeads, rmsNormEpsilon: 1e-5, tiesWordEmbeddings: true,
          bosToken: end.first, eosTokens: end))
    }
  }

  /// Peak learning rate: as given, or what suits the optimizer and whether the model is new.
  public var peakRate: Double {
    if let lr { return lr }
    switch optimizer {
    case .adam, .adamw, .lamb, .muon: return model == nil ? 1e-3 : 3e-5
    case .scheduleFree: return model == nil ? 2.5e-3 : 3e-5
    case .sgd, .apg, .apgnc: return model == nil ? 0.1 : 1e-3
    case .momentum, .nesterov, .heavyBall, .proximalSGD: return model == nil ? 0.02 : 1e-4
    case .lion: return model == nil ? 1e-4 : 1e-5
    case .lars: return model == nil ? 1 : 0.1
    case .adafactor: return 1
    }
  }

  private var penalty: Context.Penalty {
    var penalty = Context.Penalty()
    (penalty.l1, penalty.group) = (l1 ?? 0, groupLasso ?? 0)
    penalty.box = box.map { $0[0]...$0[1] }
    return penalty
  }

  /// The optimizer with its hyperparameters; weight decay is 0.1 for AdamW and Muon, 0.01 for LAMB and off elsewhere
  /// unless given.
  public func makeOptimizer() throws(KilnError) -> any Optimizer {
    let optimizer = try makeBaseOptimizer()
    return master == .fp32 ? optimizer : WithoutMasters(optimizer, compensates: master == .kahan)
  }

  private func makeBaseOptimizer() throws(KilnError) -> any Optimizer {
    let format = optimizerState
    let (momentum, decay) = (momentum ?? (optimizer == .muon ? 0.95 : 0.9), weightDecay ?? 0)
    func betas(_ first: Double, _ second: Double) -> (Double, Double) {
      self.betas.map { ($0[0], $0[1]) } ?? (first, second)
    }
    return switch optimizer {
    case .sgd: try SGD(weightDecay: decay, format: format)
    case .momentum: try SGD(momentum: momentum, weightDecay: decay, format: format)
    case .nesterov: try SGD(momentum: momentum, form: .nesterov, weightDecay: decay, format: format)
    case .heavyBall: try SGD(momentum: momentum, form: .heavyBall, weightDecay: decay, format: format)
    case .adam: try Adam(betas: betas(0.9, 0.95), eps: eps ?? 1e-8, weightDecay: decay, format: format)
    case .adamw:
      try Adam(
        betas: betas(0.9, 0.95), eps: eps ?? 1e-8, weightDecay: weightDecay ?? 0.1, decoupled: true, format: format)
    case .lion: try Lion(betas: betas(0.9, 0.99), weightDecay: decay, format: format)
    case .lars: try LARS(momentum: momentum, weightDecay: decay, format: format)
    case .lamb:
      try LAMB(betas: betas(0.9, 0.999), eps: eps ?? 1e-6, weightDecay: weightDecay ?? 0.01, format: format)
    case .adafactor: try Adafactor(relative: lr == nil, weightDecay: decay, format: format)
    case .muon:
      try Muon(
        momentum: momentum, weightDecay: weightDecay ?? 0.1, betas: betas(0.9, 0.95), eps: eps ?? 1e-8, format: format)
    case .scheduleFree:
      try ScheduleFree(betas: betas(0.9, 0.999), eps: eps ?? 1e-8, weightDecay: decay, format: format)
    case .proximalSGD: try ProximalGradient(.sgd(momentum: momentum), penalty: penalty, format: format)
    case .apg, .apgnc:
      try ProximalGradient(.accelerated(isMonotone: optimizer == .apgnc), penalty: penalty, format: format)
    }
  }

  /// Refuses what cannot be meant, one clear line each.
  public func validate() throws(KilnError) {
    guard !data.isEmpty else {
      throw KilnError(.argument, "no data was given", hint: "name text files with --data FILE...")
    }
    let positive: [(String, Int?)] = [
      ("layers", layers), ("heads", heads), ("kv-heads", kvHeads), ("width", width), ("hidden", hidden),
      ("vocab-size", vocabSize), ("context", context), ("batch", batch), ("micro-batch", microBatch), ("steps", steps),
      ("keep", keep), ("save-every", saveEvery), ("eval-every", evalEvery),
      ("rounds", rounds),
    ]
    for (flag, value) in positive {
      if let value, value < 1 {
        throw KilnError(.argument, "--\(flag) is \(value)", hint: "give a number of at least 1")
      }
    }
    for (flag, value) in [("epochs", epochs), ("max-time", maxTime)] {
      if let value, !(value > 0 && value.isFinite) { throw KilnError(.argument, "--\(flag) is \(value), not positive") }
    }
    let notNegative = [
      ("lr", lr), ("weight-decay", weightDecay), ("grad-clip", gradClip), ("l1", l1), ("group-lasso", groupLasso),
    ]
    for (flag, value) in notNegative {
      if let value, !(value >= 0 && value.isFinite) {
        throw KilnError(.argument, "--\(flag) is \(value), not a number >= 0")
      }
    }
    guard (0..<1).contains(dropout) else { throw KilnError(.argument, "--dropout is \(dropout), not in 0 ..< 1") }
    if let betas, betas.count != 2 {
      throw KilnError(.argument, "--betas takes two numbers, not \(betas.count)", hint: "such as 0.9,0.95")
    }
    if let box, box.count != 2 || !(box[0] <= box[1]) {
      throw KilnError(.argument, "--box \(text(box)) is not a range", hint: "give its ends, such as -0.1,0.1")
    }
    if let startStep, startStep < 0 || startStep >= steps ?? .max {
      throw KilnError(.argument, "--start-step \(startStep) is not a step of the run")
    }
    if let warmup, warmup < 0 { throw KilnError(.argument, "--warmup is \(warmup)") }
    for (flag, bytes) in [("memory", memory), ("device-memory", deviceMemory)] {
      if let bytes, bytes < 1 { throw KilnError(.argument, "--\(flag) is \(bytes) bytes") }
    }
    if memory != nil, let recompute {
      throw KilnError(
        .argument, "--memory chooses what runs again, and --recompute is \(recompute)", hint: "give one of the two")
    }
    for (flag, isGiven) in [("disk", disk != nil), ("allow", allow != nil)]
    where isGiven && memory == nil && deviceMemory == nil && offload.isEmpty {
      throw KilnError(
        .argument, "--\(flag) says how to keep a budget, and there is none", hint: "give --memory as well")
    }
    try checkOffloading()
    if let microBatch, batch % microBatch != 0 {
      throw KilnError(.argument, "--batch \(batch) is not a multiple of --micro-batch \(microBatch)")
    }
    try checkSparsity()
    try checkOptimizerFlags()
    try checkModelFlags()
    _ = try makeOptimizer()
  }

  private func checkOffloading() throws(KilnError) {
    if offload.contains(.optimizer) {
      if offload.contains(.states) {
        throw KilnError(.argument, "--offload optimizer has the states on the host: 'states' does not go with it")
      }
      if master != .fp32 {
        throw KilnError(
          .argument, "--offload optimizer keeps fp32 weights on the host, and --master is \(master.rawValue)",
          hint: "leave --master out")
      }
    }
    guard let delayUpdate else { return }
    if delayUpdate < 0 { throw KilnError(.argument, "--delay-update is \(delayUpdate)") }
    if !offload.contains(.optimizer) {
      throw KilnError(
        .argument, "--delay-update delays updates of the host, and the device makes them",
        hint: "give --offload optimizer as well")
    }
  }

  private func text(_ numbers: [Double]) -> String { numbers.map { "\($0)" }.joined(separator: ",") }

  private func checkOptimizerFlags() throws(KilnError) {
    let flags: [(String, String?, (OptimizerName) -> Bool)] = [
      ("momentum", momentum.map { "\($0)" }, \.hasMomentum), ("betas", betas.map(text), \.hasBetas),
      ("eps", eps.map { "\($0)" }, \.hasEps), ("weight-decay", weightDecay.map { "\($0)" }, \.hasWeightDecay),
      ("l1", l1.map { "\($0)" }, \.hasPenalty), ("group-lasso", groupLasso.map { "\($0)" }, \.hasPenalty),
      ("box", box.map(text), \.hasPenalty),
    ]
    let master = master == .fp32 ? nil : self.master.rawValue
    guard master == nil || precision.dtype == .bfloat16 else {
      throw KilnError(
        .argument, "--master \(self.master.rawValue) keeps weights in bf16, and --precision is \(precision.rawValue)",
        hint: "use --precision "
          + Precision.allCases.filter { $0.dtype == .bfloat16 }.map(\.rawValue).joined(separator: ", "))
    }
    let linear = optimizerState == .linear ? optimizerState.rawValue : nil
    for (flag, value, knows) in flags + [
      ("master", master, \.worksWithoutMasters), ("optimizer-state", linear, \.keepsSquaresInBlocks),
      ("offload", offload.first { $0 != .activations }?.rawValue, \.canOffloadStates),
    ] {
      guard let value, !knows(optimizer) else { continue }
      throw KilnError(
        .argument, "--\(flag) \(value) means nothing to --optimizer \(optimizer.rawValue)",
        hint: "it is for \(OptimizerName.allCases.filter(knows).map(\.rawValue).joined(separator: ", "))")
    }
  }

  private func checkModelFlags() throws(KilnError) {
    guard model != nil else { return }
    let given: [(String, Bool)] = [
      ("arch", arch != nil), ("layers", layers != nil), ("heads", heads != nil), ("kv-heads", kvHeads != nil),
      ("width", width != nil), ("hidden", hidden != nil), ("vocab-size", vocabSize != nil),
    ]
    if let flag = given.first(where: \.1)?.0 {
      throw KilnError(
        .argument, "--\(flag) describes a new model, --model a pretrained one: give one of the two",
        hint: "the sizes of a pretrained model are in its config.json")
    }
  }
}
