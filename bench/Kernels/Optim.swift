// Updates of weights: AdamW over all parameters of GPT-2 124M at once, and every method over one large matrix.

import Harness
import Kiln

enum OptimFamily: Family {
  static let name = "optim"
  private static let gpt2 = 124_439_808
  private static let side = 4096

  static func cases(_ setup: Setup) -> [Case] {
    let all = Method("adamw", bytes: 28, states: [.float32, .float32], apply: adamw)
    var first = item("adamw \(gpt2 / 1_000_000)M parameters", all, [gpt2], setup)
    first.work = Job(.adamw) { $0.count = gpt2 }
    return [first] + methods.map { item("\($0.name) \(side)x\(side)", $0, [side, side], setup) }
  }

  /// A method, what it must move for each element, and how it keeps its states.
  private struct Method {
    let name: String
    let bytes: Double
    let states: [DType]
    let apply: (Context, Work) throws(KilnError) -> Void

    init(
      _ name: String, bytes: Double, states: [DType], apply: @escaping (Context, Work) throws(KilnError) -> Void
    ) {
      (self.name, self.bytes, self.states, self.apply) = (name, bytes, states, apply)
    }
  }

  private struct Work {
    let w, g: Tensor
    let states: [OptimizerState]
    var options = Context.UpdateOptions()
  }

  private static func adamw(_ context: Context, _ a: Work) throws(KilnError) {
    try context.adam(
      a.w, m: a.states[0], v: a.states[1], a.g, betas: (0.9, 0.95), eps: 1e-8, decoupled: true, a.options)
  }

  private static func lion(_ context: Context, _ a: Work) throws(KilnError) {
    try context.lion(a.w, m: a.states[0], a.g, betas: (0.9, 0.99), a.options)
  }

  private static var methods: [Method] {
    [
      Method("sgd", bytes: 12, states: []) { (context, a) throws(KilnError) in
        try context.sgd(a.w, momentum: nil, a.g, factor: 0, form: .plain, a.options)
      },
      Method("momentum", bytes: 20, states: [.float32]) { (context, a) throws(KilnError) in
        try context.sgd(a.w, momentum: a.states[0], a.g, factor: 0.9, form: .plain, a.options)
      },
      Method("lion", bytes: 20, states: [.float32], apply: lion),
      Method("lion 8bit", bytes: 14, states: [.uint8], apply: lion),
      Method("adamw", bytes: 28, states: [.float32, .float32], apply: adamw),
      Method("adamw bf16", bytes: 20, states: [.bfloat16, .bfloat16], apply: adamw),
      Method("adamw bf16-sr", bytes: 20, states: [.bfloat16, .bfloat16]) { (context, a) throws(KilnError) in
        var rounding = a
        rounding.options.rounding = RandomKey(seed: 1)
        rounding.options.roundsStatesStochastically = true
        try adamw(context, rounding)
      },
      Method("adamw 8bit", bytes: 16, states: [.uint8, .uint8], apply: adamw),
      Method("lars", bytes: 28, states: [.float32]) { (context, a) throws(KilnError) in
        try context.lars(a.w, m: a.states[0], a.g, momentum: 0.9, trust: 0.001, a.options)
      },
      Method("lamb", bytes: 40, states: [.float32, .float32]) { (context, a) throws(KilnError) in
        try context.lamb(
          a.w, m: a.states[0], v: a.states[1], a.g, betas: (0.9, 0.999), eps: 1e-6, adapts: true, a.options)
      },
    ]
  }

  private static func item(_ name: String, _ method: Method, _ shape: Shape, _ setup: Setup) -> Case {
    Case(
      self.name, name, Cost(bytes: method.bytes * Double(shape.count)),
      contenders: [KernelContender(on: setup.context) { try kernel(method, shape, setup) }])
  }

  private static func kernel(_ method: Method, _ shape: Shape, _ setup: Setup) throws -> Kernel {
    let w = try setup.normal(shape, std: 0.02, site: 1)
    let before = try setup.exact(w)
    var work = try Self.work(method, w, setup.normal(shape, std: 0.01, site: 2), on: setup.context)
    var step = 0
    return Kernel(
      run: {
        step += 1
        work.options.step = step
        try method.apply(setup.context, work)
      },
      check: {
        try method.apply(
          setup.reference, Self.work(method, before, setup.exact(work.g), on: setup.reference))
        try setup.expect(w, before, "w", within: 1e-5)
      })
  }

  /// With states that are zeros, before the first step.
  private static func work(
    _ method: Method, _ w: Tensor, _ g: Tensor, on context: Context
  ) throws -> Work {
    let states = try method.states.map { dtype in
      OptimizerState(
        try Tensor(zeros: w.shape, dtype, on: context),
        scales: dtype == .uint8 ? try Tensor(zeros: [(w.shape.count + 255) / 256], on: context) : nil)
    }
    var work = Work(w: w, g: g, states: states)
    (work.options.lr, work.options.weightDecay) = (1e-3, 0.1)
    return work
  }
}
