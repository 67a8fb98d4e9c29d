import CKernels
import KilnTestSupport
import Testing

/// The optimizers beyond SGD and Adam, with states in the weights' own type.
struct OptimMethodsTests {
  typealias Pointers = [UnsafePointer<kiln_tensor>]

  /// A case of an update: outputs are w and its states, p is those and then the gradient.
  static func update(
    _ name: String, _ shape: [Int], states: [KernelCase.Output], weights: [Double]? = nil,
    _ call: @escaping (OpaquePointer, Pointers) -> kiln_status
  ) -> KernelCase {
    let w =
      weights.map { KernelCase.Output(shape, initial: $0, dense: true) } ?? OptimTests.state(shape, seed: 1)
    var update = KernelCase(
      "\(name) \(shape)", inputs: [.real(shape, seed: 4, dense: true)], outputs: [w] + states
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { call(context, $0) }
    }
    update.hasNarrow = false
    return update
  }

  static func signed(_ shape: [Int]) -> KernelCase.Output { OptimTests.state(shape, seed: 2) }
  static func positive(_ shape: [Int]) -> KernelCase.Output { OptimTests.state(shape, seed: 3) { $0 * $0 + 0.01 } }

  static func sgd(_ name: String, _ shape: [Int], _ change: @escaping (inout kiln_sgd_options) -> Void) -> KernelCase {
    var options = OptimTests.sgdOptions()
    change(&options)
    let fixed = options
    return update(name, shape, states: fixed.momentum > 0 ? [signed(shape)] : []) { context, p in
      var options = fixed
      return kiln_sgd(context, p[0], options.momentum > 0 ? p[1] : nil, p[p.count - 1], &options)
    }
  }

  static func lion(_ shape: [Int]) -> KernelCase {
    update("lion", shape, states: [signed(shape)]) { context, p in
      var o = kiln_lion_defaults()
      (o.lr, o.weight_decay, o.grad_scale) = (0.01, 0.1, 0.5)
      return kiln_lion(context, p[0], p[1], p[2], &o)
    }
  }

  static func scheduleFree(_ shape: [Int], step: Int64) -> KernelCase {
    update("schedule_free step \(step)", shape, states: [positive(shape), signed(shape)]) { context, p in
      var o = kiln_schedule_free_defaults()
      (o.step, o.lr, o.weight_decay, o.grad_scale, o.share) = (step, 0.01, 0.1, 0.5, 1 / Double(step))
      return kiln_schedule_free(context, p[0], p[1], p[2], p[3], &o)
    }
  }

  static func lars(_ shape: [Int]) -> KernelCase {
    update("lars", shape, states: [signed(shape)]) { context, p in
      var o = kiln_lars_defaults()
      (o.lr, o.weight_decay, o.grad_scale, o.nesterov, o.trust) = (0.5, 0.1, 0.5, 1, 0.1)
      return kiln_lars(context, p[0], p[1], p[2], &o)
    }
  }

  static func lamb(_ shape: [Int], clipTrust: Bool = false) -> KernelCase {
    update("lamb", shape, states: [signed(shape), positive(shape)]) { context, p in
      var o = kiln_lamb_defaults()
      (o.step, o.lr, o.weight_decay, o.grad_scale) = (3, 0.01, 0.1, 0.5)
      o.clip_trust = clipTrust ? 1 : 0
      return kiln_lamb(context, p[0], p[1], p[2], p[3], &o)
    }
  }

  static func adafactor(_ shape: [Int], isFactored: Bool) -> KernelCase {
    let states = isFactored ? [positive([shape[0]]), positive([shape[1]])] : [positive(shape)]
    return update("adafactor", shape, states: states) { context, p in
      var o = kiln_adafactor_defaults()
      (o.step, o.lr, o.weight_decay, o.grad_scale) = (7, 2, 0.1, 0.5)
      return isFactored
        ? kiln_adafactor(context, p[0], nil, p[1], p[2], p[3], &o)
        : kiln_adafactor(context, p[0], p[1], nil, nil, p[2], &o)
    }
  }

  static func muon(_ shape: [Int], parts: UInt32 = 1, splitColumns: Bool = false, matchRMS: Bool = false) -> KernelCase
  {
    update("muon \(parts) \(splitColumns)", shape, states: [signed(shape)]) { context, p in
      var o = kiln_muon_defaults()
      (o.lr, o.weight_decay, o.grad_scale, o.parts) = (0.1, 0.1, 0.5, parts)
      (o.split_columns, o.match_rms) = (splitColumns ? 1 : 0, matchRMS ? 1 : 0)
      return kiln_muon(context, p[0], p[1], p[2], &o)
    }
  }

  @Test(arguments: laneLengths) func everyInstructionSet(n: Int) {
    Self.sgd("heavy ball", [n]) { $0.heavy_ball = 1 }.check()
    Self.sgd("l1", [n]) { $0.l1 = 0.5 }.check()
    Self.sgd("box", [n]) { ($0.box, $0.low, $0.high) = (1, -0.5, 0.25) }.check()
    Self.sgd("group", [3, n]) { ($0.group, $0.momentum) = (2, 0) }.check()
    Self.lion([n]).check()
    for step in [1, 4] as [Int64] { Self.scheduleFree([n], step: step).check() }
    Self.lars([n]).check()
    Self.lamb([n]).check()
    Self.lamb([n], clipTrust: true).check()
    Self.adafactor([n], isFactored: false).check()
    Self.adafactor([5, n], isFactored: true).check()
    Self.muon([6, n]).check(ulps: 64)
    Self.muon([n, 9], matchRMS: true).check(ulps: 64)
    Self.update("average", [n], states: [Self.signed([n]), Self.signed([n])]) { context, p in
      kiln_schedule_free_average(context, p[0], p[1], p[2], 0.9)
    }.check()
  }

  @Test(arguments: laneLengths) func extrapolation(n: Int) {
    Self.update("extrapolate", [n], states: [Self.signed([n])]) { context, p in
      kiln_extrapolate(context, p[0], p[1], 0.75)
    }.check()
  }

  /// More than one span of work (16384 elements), and more rows than strips.
  @Test func manyElements() {
    let shape = [67, 520]
    Self.sgd("group", shape) { $0.group = 3 }.check()
    Self.lars(shape).check()
    Self.lamb(shape).check()
    Self.adafactor(shape, isFactored: true).check()
    Self.muon([66, 96], parts: 3).check(ulps: 64)
    Self.muon([40, 96], parts: 3, splitColumns: true).check(ulps: 64)
  }

  @Test func partsAreOrthogonalisedAlone() {
    let context = TestContext()
    let whole = Self.muon([6, 4], parts: 3).run(context, KILN_F32)[0].values
    var part = Self.muon([2, 4])
    let rows = 2..<4
    func slice(_ values: [Double]) -> [Double] { Array(values[rows.lowerBound * 4..<rows.upperBound * 4]) }
    let all = Self.muon([6, 4], parts: 3)
    part.inputs[0].values = slice(all.inputs[0].values)
    for index in 0..<2 { part.outputs[index].initial = slice(all.outputs[index].initial ?? []) }
    #expect(zip(part.run(context, KILN_F32)[0].values, slice(whole)).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  struct Golden: Sendable {
    var name: String
    var weights: [Double]
    var states: Int
    var call: @Sendable (OpaquePointer, Pointers, Int) -> kiln_status
  }

  /// Computed in fp64 from the published rules by another program.
  static let golden: [Golden] = [
    Golden(name: "heavy ball", weights: [0.9809, -1.9618, 2.9427], states: 1) { context, p, _ in
      var o = kiln_sgd_defaults()
      (o.lr, o.momentum, o.heavy_ball) = (0.1, 0.9, 1)
      return kiln_sgd(context, p[0], p[1], p[2], &o)
    },
    Golden(name: "lion", weights: [0.987012989, -1.984015988, 2.981018987], states: 1) { context, p, _ in
      var o = kiln_lion_defaults()
      (o.lr, o.weight_decay) = (0.01, 0.1)
      return kiln_lion(context, p[0], p[1], p[2], &o)
    },
    Golden(name: "lars", weights: [0.998008497, -1.996016994, 2.994025491], states: 1) { context, p, _ in
      var o = kiln_lars_defaults()
      (o.lr, o.weight_decay) = (1, 0.01)
      return kiln_lars(context, p[0], p[1], p[2], &o)
    },
    Golden(name: "lamb", weights: [0.979689098, -1.978202886, 2.976716730], states: 2) { context, p, step in
      var o = lambOptions(step)
      return kiln_lamb(context, p[0], p[1], p[2], p[3], &o)
    },
    Golden(name: "lamb, trust clipped", weights: [0.990277436, -1.989977420, 2.989677435], states: 2) {
      context, p, step in
      var o = lambOptions(step)
      o.clip_trust = 1
      return kiln_lamb(context, p[0], p[1], p[2], p[3], &o)
    },
    Golden(name: "schedule-free", weights: [0.993299716, -1.993299716, 2.993299716], states: 2) { context, p, step in
      var o = kiln_schedule_free_defaults()
      (o.step, o.lr, o.share) = (Int64(step), 0.01, 1 / Double(step))
      return kiln_schedule_free(context, p[0], p[1], p[2], p[3], &o)
    },
  ]

  /// The norm of the step's gradient is 0.3742 step; it is clipped to 1.
  static func lambOptions(_ step: Int) -> kiln_lamb_options {
    var o = kiln_lamb_defaults()
    (o.step, o.lr, o.weight_decay) = (Int64(step), 0.01, 0.01)
    o.grad_scale = 1 / max(1, (0.14 * Double(step * step)).squareRoot())
    return o
  }

  static var contexts: [(TestContext, kiln_dtype)] {
    [(TestContext(device: KILN_DEVICE_REF), KILN_F64), (TestContext(device: KILN_DEVICE_REF), KILN_F32)]
      + TestContext.availableISAs.map { (TestContext(isa: $0), KILN_F32) }
  }

  @Test(arguments: golden.indices) func goldenVectors(index: Int) {
    let golden = Self.golden[index]
    for (context, dtype) in Self.contexts {
      let got = OptimTests.threeSteps(context, dtype, states: golden.states, golden.call)
      let tolerance = dtype == KILN_F64 ? 1e-9 : 1e-6
      let agrees = zip(got, golden.weights).allSatisfy { abs($0 - $1) < tolerance }
      #expect(agrees, "\(golden.name): \(got)")
    }
  }

  @Test func goldenAdafactor() {
    let expected = [0.980004506, 2.030618759, 2.963130131, -1.034104429, 0.467360293, 0.031442730]
    for (context, dtype) in Self.contexts {
      let w = TestTensor([2, 3], dtype, values: [1, 2, 3, -1, 0.5, 0])
      let row = TestTensor([2], dtype, values: [0, 0])
      let column = TestTensor([3], dtype, values: [0, 0, 0])
      for step in [1.0, 2] {
        let g = TestTensor([2, 3], dtype, values: [0.1, -0.2, 0.3, 0.4, 0.5, -0.6].map { $0 * step })
        var o = kiln_adafactor_defaults()
        o.step = Int64(step)
        let status = withPointers([w, row, column, g].map(\.view)) {
          kiln_adafactor(context.handle, $0[0], nil, $0[1], $0[2], $0[3], &o)
        }
        #expect(status == KILN_OK, "\(context.lastError)")
      }
      let got = w.values
      let agrees = zip(got, expected).allSatisfy { abs($0 - $1) < (dtype == KILN_F64 ? 1e-9 : 1e-6) }
      #expect(agrees, "\(got)")
    }
  }

  /// lr -1 from zeros leaves the orthogonalised gradient itself.
  @Test func goldenNewtonSchulz() {
    let expected = [-0.56829011, 0.05774194, 0.68377400, 0.56335470, 0.40561283, 0.24787097]
    for (context, dtype) in Self.contexts {
      let (w, m) = (TestTensor([2, 3], dtype, values: .init(repeating: 0, count: 6)), [0, 0, 0, 0, 0, 0] as [Double])
      let state = TestTensor([2, 3], dtype, values: m)
      let g = TestTensor([2, 3], dtype, values: [1, 2, 3, 4, 5, 6])
      var o = kiln_muon_defaults()
      o.lr = -1
      o.momentum = 0
      let status = withPointers([w, state, g].map(\.view)) { kiln_muon(context.handle, $0[0], $0[1], $0[2], &o) }
      #expect(status == KILN_OK, "\(context.lastError)")
      let got = w.values
      let agrees = zip(got, expected).allSatisfy { abs($0 - $1) < 2e-6 }
      #expect(agrees, "\(got)")
    }
  }

  @Test func proximalStepsReachExactZeros() {
    let sparse = Self.sgd("l1", [131]) { ($0.l1, $0.momentum) = (3, 0) }.run(TestContext(), KILN_F32)[0].values
    #expect(sparse.contains(0) && sparse.contains { $0 != 0 })
    let rows = Self.sgd("group", [5, 3]) { ($0.group, $0.momentum) = (100, 0) }.run(TestContext(), KILN_F32)[0].values
    #expect(rows.allSatisfy { $0 == 0 })
  }

  @Test func refusesWhatCannotBeMeant() {
    Self.sgd("l1", [4]) { $0.l1 = -1 }.expectFailure(KILN_ERR_OPTION, "l1 is -1, not a finite number >= 0")
    Self.sgd("box", [4]) { ($0.box, $0.low, $0.high) = (1, 2, 1) }.expectFailure(KILN_ERR_OPTION, "[2, 1] is empty")
    Self.sgd("group", [4]) { $0.group = 1 }.expectFailure(KILN_ERR_SHAPE, "group needs rows, and w is [4]")
    Self.sgd("both", [4]) { ($0.heavy_ball, $0.nesterov) = (1, 1) }
      .expectFailure(KILN_ERR_OPTION, "nesterov and heavy_ball are both set")
    Self.muon([4, 4], parts: 3).expectFailure(KILN_ERR_OPTION, "w is [4, 4], whose rows are not a multiple of parts, 3")
    Self.muon([4]).expectFailure(KILN_ERR_SHAPE, "w is [4], not a matrix")
    Self.update("share", [4], states: [Self.positive([4]), Self.signed([4])]) { context, p in
      var o = kiln_schedule_free_defaults()
      o.share = 2
      return kiln_schedule_free(context, p[0], p[1], p[2], p[3], &o)
    }.expectFailure(KILN_ERR_OPTION, "share is 2, not in [0, 1]")
    Self.update("both", [4, 4], states: [Self.positive([4, 4]), Self.positive([4])]) { context, p in
      kiln_adafactor(context, p[0], p[1], p[2], nil, p[3], nil)
    }.expectFailure(KILN_ERR_OPTION, "v is given, and so is row or column")
  }

  @Test func scratchIsNotedByQueries() {
    let context = TestContext()
    kiln_context_set_query(context.handle, true)
    for update in [Self.muon([66, 96], parts: 3), Self.lamb([40]), Self.adafactor([8, 8], isFactored: true)] {
      kiln_context_reset_workspace_peak(context.handle)
      let views = (update.outputs.map { TestTensor($0.shape) } + [TestTensor(update.inputs[0].shape)]).map(\.view)
      let count = update.outputs.count
      #expect(update.call(context.handle, Array(views[..<count]), Array(views[count...])) == KILN_OK)
      let noted = kiln_context_workspace_peak(context.handle)
      let other = TestContext()
      _ = update.run(other, KILN_F32)
      #expect(noted > 0 && noted >= kiln_context_workspace_peak(other.handle), "\(update.name)")
    }
  }
}
