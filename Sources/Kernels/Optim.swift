import CKernels

/// One state of an optimizer for one weight: its values, in fp32, bf16 or, as codes of a dynamic map, uint8; then with
/// the scales of their blocks (see `kiln/optim.h`).
public struct OptimizerState {
  public var values: Tensor
  public var scales: Tensor?

  public init(_ values: Tensor, scales: Tensor? = nil) {
    self.values = values
    self.scales = scales
  }
}

/// The fields that the options of every method have.
private protocol UpdateFields {
  var lr: Double { get set }
  var weight_decay: Double { get set }
  var grad_scale: Double { get set }
}

/// And of those of Adam's kind.
private protocol AdamFields: UpdateFields {
  var step: Int64 { get set }
  var beta1: Double { get set }
  var beta2: Double { get set }
  var eps: Double { get set }
}

extension kiln_sgd_options: UpdateFields {}
extension kiln_lion_options: UpdateFields {}
extension kiln_lars_options: UpdateFields {}
extension kiln_adafactor_options: UpdateFields {}
extension kiln_muon_options: UpdateFields {}
extension kiln_adam_options: AdamFields {}
extension kiln_lamb_options: AdamFields {}
extension kiln_schedule_free_options: AdamFields {}

extension UpdateFields {
  fileprivate mutating func set(_ update: Context.UpdateOptions) {
    lr = update.lr
    weight_decay = update.weightDecay
    grad_scale = update.gradientScale
  }
}

extension AdamFields {
  fileprivate mutating func set(_ update: Context.UpdateOptions, betas: (Double, Double), eps: Double) {
    set(update)
    step = Int64(update.step)
    (beta1, beta2) = betas
    self.eps = eps
  }
}

extension Context {
  /// What every update has.
  public struct UpdateOptions {
    /// Counts from 1.
    public var step = 1
    public var lr = 0.0
    public var weightDecay = 0.0
    public var gradientScale = 1.0
    /// The random numbers by which weights in bf16 are rounded.
    public var rounding = RandomKey(seed: 0)
    /// So are states in bf16; otherwise to the nearest.
    public var roundsStatesStochastically = false
    /// Squares in 8 bits are kept in equal steps: a control.
    public var hasLinearSquares = false
    /// What rounding has left out of a weight in bf16, which is then rounded to the nearest.
    public var remainder: Tensor?
    public init() {}

    func states(
      _ remainder: UnsafePointer<kiln_tensor>?, _ first: UnsafePointer<kiln_tensor>?,
      _ second: UnsafePointer<kiln_tensor>? = nil
    ) -> kiln_state_options {
      var o = kiln_state_options()
      o.scales = (first, second)
      o.remainder = remainder
      o.linear = hasLinearSquares ? 1 : 0
      o.stochastic = roundsStatesStochastically ? 1 : 0
      (o.seed, o.step, o.site) = (rounding.seed, rounding.step, rounding.site)
      return o
    }
  }

  /// How momentum moves a weight.
  public enum Momentum: Sendable { case plain, nesterov, heavyBall }

  /// What is minimised beside the loss, by its proximal operator after each step.
  public struct Penalty: Sendable, Hashable {
    /// Weight of the sum of magnitudes (lasso).
    public var l1 = 0.0
    /// Weight of the sum of the rows' norms (group lasso).
    public var group = 0.0
    /// The elements stay in here.
    public var box: ClosedRange<Double>?
    public init() {}
  }

  /// See `kiln_sgd`.
  public func sgd(
    _ w: Tensor, momentum m: OptimizerState?, _ g: Tensor, factor: Double, form: Momentum, penalty: Penalty = Penalty(),
    _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, m?.values, g, m?.scales, update.remainder) { p in
      var o = kiln_sgd_defaults()
      o.nesterov = form == .nesterov ? 1 : 0
      o.heavy_ball = form == .heavyBall ? 1 : 0
      o.set(update)
      o.momentum = factor
      (o.l1, o.group) = (penalty.l1, penalty.group)
      if let box = penalty.box { (o.box, o.low, o.high) = (1, box.lowerBound, box.upperBound) }
      o.states = update.states(p[4], p[3])
      return kiln_sgd(handle, p[0], p[1], p[2], &o)
    }
  }

  /// See `kiln_extrapolate`.
  public func extrapolate(_ w: Tensor, from x: Tensor, factor: Double) throws(KilnError) {
    try call(w, x) { p in kiln_extrapolate(handle, p[0], p[1], factor) }
  }

  /// See `kiln_adam`.
  public func adam(
    _ w: Tensor, m: OptimizerState, v: OptimizerState, _ g: Tensor, betas: (Double, Double), eps: Double,
    decoupled: Bool, _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, m.values, v.values, g, m.scales, v.scales, update.remainder) { p in
      var o = kiln_adam_defaults()
      o.decoupled = decoupled ? 1 : 0
      o.set(update, betas: betas, eps: eps)
      o.states = update.states(p[6], p[4], p[5])
      return kiln_adam(handle, p[0], p[1], p[2], p[3], &o)
    }
  }

  /// See `kiln_lion`.
  public func lion(
    _ w: Tensor, m: OptimizerState, _ g: Tensor, betas: (Double, Double), _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, m.values, g, m.scales, update.remainder) { p in
      var o = kiln_lion_defaults()
      o.set(update)
      (o.beta1, o.beta2) = betas
      o.states = update.states(p[4], p[3])
      return kiln_lion(handle, p[0], p[1], p[2], &o)
    }
  }

  /// See `kiln_lars`. `trust` 0 leaves the step at the learning rate.
  public func lars(
    _ w: Tensor, m: OptimizerState, _ g: Tensor, momentum: Double, trust: Double, _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, m.values, g, m.scales, update.remainder) { p in
      var o = kiln_lars_defaults()
      o.set(update)
      o.momentum = momentum
      o.trust = trust
      o.states = update.states(p[4], p[3])
      return kiln_lars(handle, p[0], p[1], p[2], &o)
    }
  }

  /// See `kiln_lamb`.
  public func lamb(
    _ w: Tensor, m: OptimizerState, v: OptimizerState, _ g: Tensor, betas: (Double, Double), eps: Double, adapts: Bool,
    _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, m.values, v.values, g, m.scales, v.scales, update.remainder) { p in
      var o = kiln_lamb_defaults()
      o.adapt = adapts ? 1 : 0
      o.set(update, betas: betas, eps: eps)
      o.states = update.states(p[6], p[4], p[5])
      return kiln_lamb(handle, p[0], p[1], p[2], p[3], &o)
    }
  }

  /// The second moment of Adafactor: one for each element, or the averages of a matrix's rows and columns.
  public enum SecondMoment {
    case full(Tensor)
    case factored(row: Tensor, column: Tensor)
  }

  /// See `kiln_adafactor`.
  /// - Parameter relative: steps are relative to the size of the weight, and their size falls with their number.
  public func adafactor(
    _ w: Tensor, _ moment: SecondMoment, _ g: Tensor, relative: Bool, _ update: UpdateOptions
  ) throws(KilnError) {
    let (full, row, column): (Tensor?, Tensor?, Tensor?) =
      switch moment {
      case .full(let v): (v, nil, nil)
      case .factored(let row, let column): (nil, row, column)
      }
    try call(w, full, row, column, g) { p in
      var o = kiln_adafactor_defaults()
      o.relative_step = relative ? 1 : 0
      o.scale_parameter = relative ? 1 : 0
      o.step = Int64(update.step)
      o.set(update)
      return kiln_adafactor(handle, p[0], p[1], p[2], p[3], p[4], &o)
    }
  }

  /// See `kiln_schedule_free`. `share`: of z in the new average.
  public func scheduleFree(
    _ w: Tensor, v: Tensor, z: Tensor, _ g: Tensor, betas: (Double, Double), eps: Double, share: Double,
    _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, v, z, g) { p in
      var o = kiln_schedule_free_defaults()
      o.set(update, betas: betas, eps: eps)
      o.share = share
      return kiln_schedule_free(handle, p[0], p[1], p[2], p[3], &o)
    }
  }

  /// See `kiln_schedule_free_average`.
  public func scheduleFreeAverage(_ x: Tensor, _ w: Tensor, z: Tensor, beta: Double) throws(KilnError) {
    try call(x, w, z) { p in kiln_schedule_free_average(handle, p[0], p[1], p[2], beta) }
  }

  /// See `kiln_muon`; updates of about the size of Adam's.
  /// - Parameters:
  ///   - parts: matrices that lie side by side in `w`.
  ///   - splitsColumns: they are blocks of columns, not of rows.
  public func muon(
    _ w: Tensor, m: OptimizerState, _ g: Tensor, momentum: Double, parts: Int, splitsColumns: Bool,
    _ update: UpdateOptions
  ) throws(KilnError) {
    try call(w, m.values, g, m.scales, update.remainder) { p in
      var o = kiln_muon_defaults()
      o.match_rms = 1
      o.set(update)
      o.momentum = momentum
      o.parts = UInt32(parts)
      o.split_columns = splitsColumns ? 1 : 0
      o.states = update.states(p[4], p[3])
      return kiln_muon(handle, p[0], p[1], p[2], &o)
    }
  }
}
