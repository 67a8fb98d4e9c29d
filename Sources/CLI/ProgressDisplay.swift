// What a run shows while it goes on: one line rewritten in place on a terminal, else a line every few seconds.

import Foundation
import Kiln

final class ProgressDisplay {
  private let steps: Int?
  private let maxTime: Double?
  private let firstStep: Int
  private let out: URL
  /// What goes on with it.
  private let resumable: URL
  private let isQuiet: Bool
  private let isInteractive = Terminal.isInteractive
  private let began = ContinuousClock.now
  private var shown: ContinuousClock.Instant?
  private var loss = SmoothedValue(weight: 0.05)
  private var last: StepMetrics?
  private var evalLoss: Double?

  init(_ trainer: Trainer, resumable: URL, isQuiet: Bool) {
    steps = trainer.steps
    maxTime = trainer.configuration.maxTime
    firstStep = trainer.firstStep
    out = trainer.out
    self.resumable = resumable
    self.isQuiet = isQuiet
  }

  func show(_ event: Trainer.Event) {
    switch event {
    case .step(let metrics): show(metrics)
    case .evaluated(let step, let evaluation):
      evalLoss = evaluation.loss
      let bits = evaluation.bitsPerByte.map { String(format: ", %.4f bits per byte", $0) } ?? ""
      remark(String(format: "step %d: held-out loss %.4f", step + 1, evaluation.loss) + bits)
    case .saved(_, let folder): remark("saved \(folder.relativePath)")
    case .notice(let text): remark("note: \(text)")
    }
  }

  private var elapsed: Double { (ContinuousClock.now - began) / .seconds(1) }

  /// Leaves the last state of the progress line standing.
  func finish() {
    guard !isQuiet, isInteractive, let last else { return }
    Terminal.write("\r\u{1B}[K" + line(last) + "\n")
  }

  /// What the run came to, and where it is.
  func lastLine(_ outcome: Trainer.Outcome, report: URL) -> String {
    let resume = "kiln train --resume \(resumable.relativePath)"
    guard let last else {
      return "nothing to do: \(firstStep)\(ofSteps) steps were done; go on with more: \(resume) --steps N"
    }
    let done = last.step + 1
    let time = formatDuration(elapsed)
    let held = evalLoss.map { String(format: ", held-out loss %.4f", $0) } ?? ""
    let result = String(format: "loss %.4f", last.loss) + held
    let files = "model in \(out.relativePath), report in \(report.relativePath)"
    let text =
      switch outcome {
      case .enough: "enough after \(done)\(ofSteps) steps in \(time): \(result)"
      case .finished: "finished \(done) steps in \(time): \(result); \(files)"
      case .outOfTime: "time is up after \(done)\(ofSteps) steps: \(result); \(files); go on with: \(resume)"
      case .interrupted: "stopped and saved after \(done)\(ofSteps) steps: \(result); go on with: \(resume)"
      }
    return text + (last.noiseScale.map(advice) ?? "")
  }

  private func advice(noiseScale: Double) -> String {
    let sequences = max(1, Int(noiseScale.rounded()))
    return "\ngradient noise scale: \(sequences) sequences; a larger --batch than about that saves few steps"
  }

  private func show(_ metrics: StepMetrics) {
    loss.add(metrics.loss)
    last = metrics
    guard !isQuiet else { return }
    let now = ContinuousClock.now
    let pause: Duration = isInteractive ? .milliseconds(100) : .seconds(5)
    if let shown, now - shown < pause, isInteractive || metrics.step + 1 != steps { return }
    shown = now
    if isInteractive {
      Terminal.write("\r\u{1B}[K" + String(line(metrics).prefix(Terminal.width - 1)))
    } else {
      Terminal.print(line(metrics))
    }
  }

  private func line(_ metrics: StepMetrics) -> String {
    let done = metrics.step + 1
    let parts = [
      "step \(done)" + (steps.map { "/\($0)" } ?? ""), String(format: "loss %.4f", loss.value),
      formatRate(metrics.tokensPerSecond),
      formatBytes(metrics.peakBytes),
    ]
    let rest = remaining(after: done)
    return (parts + (rest > 0 ? ["ETA " + formatDuration(rest)] : [])).joined(separator: "  ")
  }

  /// Seconds until the steps are done or the time is up, whichever comes first.
  private func remaining(after done: Int) -> Double {
    let bySteps = steps.map { elapsed / Double(done - firstStep) * Double($0 - done) } ?? .infinity
    return max(0, min(bySteps, maxTime.map { $0 - elapsed } ?? .infinity))
  }

  /// " of 1000", where the number of steps is known.
  private var ofSteps: String { steps.map { " of \($0)" } ?? "" }

  private func remark(_ text: String) {
    guard !isQuiet else { return }
    Terminal.print((isInteractive ? "\r\u{1B}[K" : "") + text)
  }
}

/// An exponential moving average, unbiased from its first value on.
private struct SmoothedValue {
  let weight: Double
  private var sum = 0.0
  private var mass = 0.0

  init(weight: Double) { self.weight = weight }

  var value: Double { mass > 0 ? sum / mass : 0 }

  mutating func add(_ new: Double) {
    sum += weight * (new - sum)
    mass += weight * (1 - mass)
  }
}
