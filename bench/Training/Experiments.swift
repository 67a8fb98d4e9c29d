// Every training experiment. A technique is one more arm, or one more experiment, here.

import Foundation
import Harness
import Kiln

/// A question of the kind "does this help?": arms that train the same tasks.
struct Experiment {
  let name: String
  let tasks: [TrainingTask]
  /// The first one is what the others are held against.
  let arms: [Arm]
  /// Learning rates, relative to each arm's guideline.
  var rates = [0.3, 1, 3]
  var seeds = Array(0..<3)
}

/// One answer: what it changes in the task's configuration.
struct Arm {
  let name: String
  /// Its guideline for the learning rate; nil for a method that has its own.
  let rate: Double?
  let change: (inout TrainingConfiguration) -> Void

  init(_ name: String, rate: Double?, change: @escaping (inout TrainingConfiguration) -> Void = { _ in }) {
    self.name = name
    self.rate = rate
    self.change = change
  }

  /// With another batch: the same number of samples in all, the learning rate by the square root.
  func scaled(batch: Int, from base: Int) -> Arm {
    let factor = Double(batch) / Double(base)
    let scaling = LearningRateScaling.sqrt.factor(batch: batch, base: base)
    return Arm("\(name), batch \(batch)", rate: rate.map { $0 * scaling }) {
      change(&$0)
      $0.batch = batch
      $0.steps = $0.steps.map { Int(Double($0) / factor) }
    }
  }
}

extension Experiment {
  static var all: [Experiment] { [optimizers, precision, activations, delay, batch, sparsity, tickets, gpt2] }

  static var optimizers: Experiment {
    Experiment(
      name: "optimizers", tasks: [.nano, .micro],
      arms: [
        .adamw, .momentum,
        Arm("nesterov", rate: 0.3) { $0.optimizer = .nesterov },
        Arm("heavy-ball", rate: 0.3) { $0.optimizer = .heavyBall },
        Arm("lion", rate: 1e-3) { ($0.optimizer, $0.weightDecay) = (.lion, 0.3) },
        .lars, .lamb,
        Arm("adafactor", rate: 3e-3) { $0.optimizer = .adafactor },
        Arm("muon", rate: 3e-3) { $0.optimizer = .muon },
        Arm("schedule-free", rate: 5e-3) { $0.optimizer = .scheduleFree },
        Arm("adafactor, relative steps", rate: nil) { $0.optimizer = .adafactor },
      ])
  }

  /// Of arithmetic and activations, of weights, then of the optimizer's memory.
  static var precision: Experiment {
    Experiment(
      name: "precision", tasks: [.small],
      arms: [
        Arm("fp32", rate: 1e-3),
        Arm("bf16", rate: 1e-3) { $0.precision = .bf16 },
        Arm("fp16", rate: 1e-3) { $0.precision = .fp16 },
        Arm("int8", rate: 1e-3) { $0.precision = .int8 },
        Arm("int8-head", rate: 1e-3) { $0.precision = .int8Head },
        Arm("int8-all", rate: 1e-3) { $0.precision = .int8All },
        Arm("fp8", rate: 1e-3) { $0.precision = .fp8 },
        Arm("fp8-delayed", rate: 1e-3) { $0.precision = .fp8Delayed },
        Arm("bf16, no masters", rate: 1e-3) { ($0.precision, $0.master) = (.bf16, .none) },
        Arm("bf16, Kahan's sums", rate: 1e-3) { ($0.precision, $0.master) = (.bf16, .kahan) },
        Arm("states bf16", rate: 1e-3) { $0.optimizerState = .bf16 },
        Arm("states bf16-sr", rate: 1e-3) { $0.optimizerState = .stochastic },
        Arm("states 8bit", rate: 1e-3) { $0.optimizerState = .eightBit },
        Arm("states 8bit-linear", rate: 1e-3) { $0.optimizerState = .linear },
      ], rates: [1])
  }

  /// Of activations in few bits, and of all at once that `--allow lossy` may choose.
  static var activations: Experiment {
    let bits: [ActivationBits] = [8, 4, 2].map { .uniform($0) } + [3, 2.5].map { .allotted(average: $0) }
    return Experiment(
      name: "activations", tasks: [.small],
      arms: [Arm("fp32", rate: 1e-3)]
        + bits.map { bits in
          Arm("\(bits) bits", rate: 1e-3) { $0.compressActivations = bits }
        } + [lossy, lossyNarrow], rates: [1])
  }

  private static var lossy: Arm {
    Arm("4 bits, states 8bit", rate: 1e-3) { ($0.compressActivations, $0.optimizerState) = (.uniform(4), .eightBit) }
  }

  private static var lossyNarrow: Arm {
    Arm("bf16, no masters, 4 bits, states 8bit", rate: 1e-3) {
      ($0.precision, $0.master) = (.bf16, .none)
      ($0.compressActivations, $0.optimizerState) = (.uniform(4), .eightBit)
    }
  }

  /// Ways to find what is kept, at three shares; then N:M of dense weights.
  static var sparsity: Experiment {
    let methods: [TrainingConfiguration.Sparsity] = [
      .random, .magnitude, .snip, .grasp, .synflow, .set, .rigl, .topKAST,
    ]
    let kept = [0.2, 0.1, 0.05].flatMap { density in
      methods.map { method in
        Arm("\(method.rawValue), \(Int((density * 100).rounded())) % kept", rate: 3e-3) {
          ($0.sparsity, $0.density) = (method, density)
        }
      }
    }
    let groups: [Arm] = [.ste, .srSTE, .magnitude, .rigl].map { method in
      Arm("\(method.rawValue), 2:4", rate: 3e-3) { ($0.sparsity, $0.block) = (method, .groups(kept: 2, of: 4)) }
    }
    return Experiment(name: "sparsity", tasks: [.nano], arms: [.adamw] + kept + groups, rates: [1])
  }

  /// What is found by training: tickets that are put back, the same with new weights, and smaller models drawn early.
  static var tickets: Experiment {
    func lottery(_ name: String, _ rewinding: LotteryTickets.Rewinding, rewind: Double) -> Arm {
      Arm("lottery, 10 % kept, \(name)", rate: 3e-3) {
        ($0.sparsity, $0.density, $0.rounds, $0.rewinding) = (.lottery, 0.1, 3, rewinding)
        $0.rewind = Int(Double($0.steps ?? 0) * rewind)
      }
    }
    let lotteries = [
      lottery("back to a twentieth", .weights, rewind: 0.05), lottery("back to the start", .weights, rewind: 0),
      lottery("new weights", .reinitialized, rewind: 0),
    ]
    let early: [Arm] = [.earlyBird, .earlyBERT].map { method in
      Arm(method.rawValue, rate: 3e-3) { ($0.sparsity) = method }
    }
    return Experiment(name: "tickets", tasks: [.nano], arms: [.adamw, .small] + early + lotteries, rates: [1])
  }

  /// ZeRO-Offload's delayed update, from after the warm-up on and, as the control, from the start.
  static var delay: Experiment {
    func delayed(_ step: Int) -> Arm {
      Arm("delayed from step \(step)", rate: 3e-3) { ($0.offload, $0.delayUpdate) = ([.optimizer], step) }
    }
    return Experiment(
      name: "delay", tasks: [.micro], arms: [.adamw, delayed(40), delayed(0)], rates: [1])
  }

  /// Whether what holds for a small model holds for one of use.
  static var gpt2: Experiment {
    Experiment(
      name: "gpt2", tasks: [.gpt2],
      arms: [
        Arm("fp32", rate: 3e-4), Arm("bf16", rate: 3e-4) { $0.precision = .bf16 },
        Arm("int8", rate: 3e-4) { $0.precision = .int8 }, lossy.at(3e-4), lossyNarrow.at(3e-4),
      ], rates: [1], seeds: [0])
  }

  static var batch: Experiment {
    let arms: [Arm] = [.adamw, .lars, .lamb, .momentum]
    return Experiment(
      name: "batch", tasks: [.nano],
      arms: arms.flatMap { arm in [32, 128, 512].map { arm.scaled(batch: $0, from: 32) } })
  }
}

extension Arm {
  static var adamw: Arm { Arm("adamw", rate: 3e-3) }
  /// As large as an early ticket of LM-nano.
  static var small: Arm { Arm("adamw, 122 neurons", rate: 3e-3) { $0.hidden = 122 } }
  static var momentum: Arm { Arm("momentum", rate: 0.3) { $0.optimizer = .momentum } }
  static var lars: Arm { Arm("lars", rate: 0.3) { $0.optimizer = .lars } }
  static var lamb: Arm { Arm("lamb", rate: 0.02) { $0.optimizer = .lamb } }
}

/// One run of an experiment.
struct PlannedRun {
  let task: TrainingTask
  let arm: Arm
  let key: TrainingRun.Key
}

extension Experiment {
  /// Every arm at each of its learning rates, with the first seed.
  func firstRuns(rates: [Double]) -> [PlannedRun] {
    tasks.flatMap { task in
      arms.flatMap { arm in arm.grid(rates).map { planned(task, arm, $0, seed: seeds[0]) } }
    }
  }

  /// The other seeds, at the rate that was best with the first; seed after seed, so that each arm has something to show.
  func otherRuns(after runs: [TrainingRun]) -> [PlannedRun] {
    tasks.flatMap { task in
      seeds.dropFirst().flatMap { seed in
        arms.compactMap { arm in
          let first = runs.filter { run in
            (run.key.task, run.key.arm, run.key.seed) == (task.name, arm.name, seeds[0]) && !run.diverged
          }
          let best = first.min { ($0.heldOut ?? .infinity) < ($1.heldOut ?? .infinity) }
          return best.map { planned(task, arm, $0.key.lr, seed: seed) }
        }
      }
    }
  }

  private func planned(_ task: TrainingTask, _ arm: Arm, _ lr: Double?, seed: Int) -> PlannedRun {
    PlannedRun(task: task, arm: arm, key: .init(task: task.name, arm: arm.name, lr: lr, seed: seed))
  }
}

extension Arm {
  /// The same with another guideline.
  func at(_ rate: Double) -> Arm { Arm(name, rate: rate, change: change) }

  /// The learning rates to try, with three digits.
  func grid(_ factors: [Double]) -> [Double?] {
    guard let rate else { return [nil] }
    return factors.map { Double(String(format: "%.3g", rate * $0)) }
  }
}
