import KilnOptimizers

/// A way to run a configuration in less memory: what is changed in it, beside the micro-batch and what runs again.
struct Way {
  enum Change: Hashable {
    case offload([TrainingConfiguration.Offload])
    case states(StateFormat)
    case activations(bits: Int)
    case master(MasterWeights)
    /// Factored states.
    case adafactor
  }

  let base: TrainingConfiguration
  private(set) var changes: [Change] = []
  private let isFixed: Bool

  /// In the order in which they are tried: those that change the numbers least first.
  /// - Parameter isFixed: only in the way in which the run has begun.
  static func all(of configuration: TrainingConfiguration, isFixed: Bool) -> [Way] {
    let plain = Way(base: configuration, isFixed: isFixed)
    guard !isFixed else { return [plain] }
    let offloads = plain.offloads.filter(plain.allows)
    let lossy = configuration.allow == .lossy ? plain.lossyChanges.filter(plain.allows) : []
    var lists = [[]] + offloads.map { [$0] } + lossy.indices.map { Array(lossy[...$0]) }
    if let last = offloads.last, !lossy.isEmpty { lists.append(lossy + [last]) }
    if configuration.allow == .lossy, configuration.optimizer == .adamw {
      lists.append([.activations(bits: 4), .adafactor])
    }
    return lists.map { plain.with($0) }.filter { (try? $0.configuration.validate()) != nil }
  }

  /// What may lie behind the device, the least first.
  private var offloads: [Change] {
    guard base.offload.isEmpty, base.disk != nil || base.deviceMemory != nil else { return [] }
    let hasHost = base.deviceMemory != nil && base.precision != .fp32
    let host: [[TrainingConfiguration.Offload]] = hasHost ? [[.optimizer], [.optimizer, .activations]] : []
    return ([[.states], [.states, .activations]] + host).map { .offload($0) }
  }

  private var lossyChanges: [Change] {
    var changes: [Change] = []
    if base.optimizerState == .fp32 {
      changes.append(.states(allows(.states(.eightBit)) ? .eightBit : .stochastic))
    }
    if base.compressActivations == nil { changes += [8, 4].map { .activations(bits: $0) } }
    if base.master == .fp32 { changes += [.master(.kahan), .master(.none)] }
    return changes
  }

  private init(base: TrainingConfiguration, isFixed: Bool) {
    self.base = base
    self.isFixed = isFixed
  }

  private func with(_ changes: [Change]) -> Way {
    var way = self
    way.changes = changes
    return way
  }

  /// Nil where the rest cannot be.
  func without(_ change: Change) -> Way? {
    let less = with(changes.filter { $0 != change })
    return (try? less.configuration.validate()) == nil ? nil : less
  }

  /// Whether a change is one, and the configuration and its optimizer know it.
  private func allows(_ change: Change) -> Bool {
    let changed = with([change]).configuration
    return changed != base && (try? changed.validate()) != nil
  }

  var configuration: TrainingConfiguration {
    changes.reduce(into: base) { configuration, change in
      switch change {
      case .offload(let what): configuration.offload = what
      case .states(let format): configuration.optimizerState = format
      case .activations(let bits): configuration.compressActivations = .uniform(bits)
      case .master(let master): configuration.master = master
      case .adafactor:
        (configuration.lr, configuration.weightDecay) = (base.peakRate, base.weightDecay ?? 0.1)
        configuration.optimizer = .adafactor
      }
    }
  }

  /// With every micro-batch that the batch can be cut into, the largest first, where it is open.
  var microBatches: [TrainingConfiguration] {
    let way = configuration
    guard !isFixed, way.microBatch == nil else { return [way] }
    return (1...way.batch).reversed().filter { way.batch % $0 == 0 }.map { size in
      var variant = way
      variant.microBatch = size
      return variant
    }
  }
}
