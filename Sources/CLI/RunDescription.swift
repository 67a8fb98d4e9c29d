// What a run is, in a few lines: shown when it starts, and in its report.

import Foundation
import Kiln

enum RunDescription {
  static func rows(of trainer: Trainer) -> [(name: String, value: String)] {
    let rows: [(name: String, value: String)] = [
      ("model", model(trainer)), ("data", data(trainer)), ("run", length(trainer)),
      ("optimizer", optimizer(trainer.configuration)), ("rate", rate(trainer)), ("update", update(trainer)),
      ("precision", precision(trainer.configuration)),
      ("device", device(trainer.context)), ("memory", memory(trainer.plan)),
    ]
    guard let sparsity = sparsity(trainer) ?? slimming(trainer) else { return rows }
    return [rows[0], (name: "sparsity", value: sparsity)] + rows.dropFirst()
  }

  private static func model(_ trainer: Trainer) -> String {
    let model = trainer.model.configuration
    let heads = model.kvHeads == model.heads ? "\(model.heads)" : "\(model.heads)/\(model.kvHeads)"
    let origin = trainer.configuration.model.map { ", from \($0)" } ?? ""
    return "\(model.modelType), \(model.layers) layers x \(model.width), \(heads) heads, "
      + "vocabulary \(model.vocabularySize): \(formatCount(trainer.parameterCount)) parameters\(origin)"
  }

  /// Nil where heads and neurons have no factors.
  private static func slimming(_ trainer: Trainer) -> String? {
    let factors = trainer.model.factors
    guard !factors.isEmpty, let penalty = trainer.configuration.slimming else { return nil }
    return "\(factors.reduce(0) { $0 + $1.shape.count }) heads and neurons with factors, penalty \(penalty)"
  }

  /// Nil for dense weights.
  private static func sparsity(_ trainer: Trainer) -> String? {
    let patterns = trainer.model.parameters.compactMap(\.type.pattern)
    guard let format = patterns.first?.format else { return nil }
    let share = String(format: "%.3g %%", 100 * patterns.density)
    let method = trainer.configuration.sparsity.map { "\($0.rawValue), " } ?? ""
    return "\(method)\(share) of \(patterns.count) projections kept in \(format)"
  }

  private static func data(_ trainer: Trainer) -> String {
    let configuration = trainer.configuration
    let files = configuration.data.count == 1 ? configuration.data[0] : "\(configuration.data.count) files"
    let held = configuration.evalData.map { "; held out: \($0)" } ?? ""
    return "\(formatCount(trainer.corpus.count)) tokens of \(files)\(held)"
  }

  private static func length(_ trainer: Trainer) -> String {
    let configuration = trainer.configuration
    let microBatch = trainer.plan.microBatch
    let parts = microBatch < configuration.batch ? ", \(microBatch) at a time" : ""
    let start = trainer.firstStep > 0 ? ", going on at step \(trainer.firstStep)" : ""
    let length = trainer.steps.map { "\($0) steps" } ?? "as many steps as the time allows,"
    return "\(length) of \(configuration.batch) x \(trainer.sequenceLength) tokens\(parts)\(start)"
  }

  private static func optimizer(_ configuration: TrainingConfiguration) -> String {
    let state = configuration.optimizerState
    return
      ([configuration.optimizer.rawValue, (try? configuration.makeOptimizer())?.summary].compactMap { $0 }
      + (state == .fp32 ? [] : ["state in \(state.rawValue)"])).joined(separator: ", ")
  }

  private static func rate(_ trainer: Trainer) -> String {
    let schedule = trainer.schedule
    return "\(schedule.peak), \(schedule.shape.rawValue), \(schedule.warmup) steps of warm-up"
  }

  private static func update(_ trainer: Trainer) -> String {
    let clip = trainer.configuration.gradClip
    return trainer.plan.updateMode + (clip > 0 ? ", gradients clipped to \(clip)" : "")
  }

  private static func precision(_ configuration: TrainingConfiguration) -> String {
    let precision = configuration.precision
    let weights =
      switch configuration.master {
      case .fp32: precision == .fp32 ? "" : " over fp32 weights"
      case .none: ", weights rounded stochastically"
      case .kahan: ", weights by Kahan's sums"
      }
    return precision.rawValue + weights
      + (precision.scalesLoss ? ", loss scaled" : "")
  }

  static func device(_ context: Context) -> String {
    if let device = context.openCLDevice, let tile = context.tile {
      return "\(context.device), \(device.name), products in tiles of \(tile)"
    }
    return "\(context.device), \(context.isa) kernels, \(context.threads) thread\(context.threads == 1 ? "" : "s")"
      + (context.gemmNotice.map { "; products \($0)" } ?? "")
  }

  private static func memory(_ plan: TrainingPlan) -> String {
    let memory = plan.memory
    let list = MemoryForecast.Category.allCases.filter { memory[$0] > 0 }
      .map { "\($0.rawValue) \(formatBytes(memory[$0]))" }
    let techniques = plan.techniques.isEmpty ? "" : "; by " + plan.techniques.joined(separator: ", ")
    let device = memory.isApart ? " and \(formatBytes(memory.device)) on the device" : ""
    return "\(formatBytes(memory.total))\(device) at its peak: " + list.joined(separator: ", ") + techniques
  }
}
