// AdamW over all parameters of GPT-2 124M at once: 28 bytes a parameter must move.

import Harness
import Kiln

enum OptimFamily: Family {
  static let name = "optim"
  private static let count = 124_439_808

  static func cases(_ setup: Setup) -> [Case] {
    [
      Case(
        name, "adamw \(count / 1_000_000)M parameters", Cost(bytes: 28 * Double(count)),
        work: Job(.adamw) { $0.count = count }, contenders: [KernelContender { try kernel(setup) }])
    ]
  }

  private static func kernel(_ setup: Setup) throws -> Kernel {
    let (w, g) = (try setup.normal([count], std: 0.02, site: 1), try setup.normal([count], std: 0.01, site: 2))
    let (m, v) = (try Tensor(zeros: [count]), try Tensor(zeros: [count]))
    let part = count - 4096..<count
    let before = try setup.exact(w.slice(0, part))
    var step = 0
    return Kernel(
      run: {
        step += 1
        try update(setup.context, w, m, v, g, step)
      },
      check: {
        let (m, v) = (try Tensor(zeros: before.shape), try Tensor(zeros: before.shape))
        try update(setup.reference, before, m, v, setup.exact(g.slice(0, part)), 1)
        try setup.expect(w.slice(0, part), before, "w", within: 1e-5)
      })
  }

  private static func update(
    _ context: Context, _ w: Tensor, _ m: Tensor, _ v: Tensor, _ g: Tensor, _ step: Int
  ) throws {
    try context.adam(
      w, m: m, v: v, g, step: step, lr: 1e-3, betas: (0.9, 0.95), eps: 1e-8, weightDecay: 0.1, decoupled: true,
      gradientScale: 1)
  }
}
