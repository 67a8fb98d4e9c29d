import CKernels
import KilnTestSupport
import Testing

struct OptimTests {
  static func sgdOptions(momentum: Double = 0.9, nesterov: Bool = false) -> kiln_sgd_options {
    var options = kiln_sgd_defaults()
    options.lr = 0.1
    options.momentum = momentum
    options.nesterov = nesterov ? 1 : 0
    options.weight_decay = 0.01
    return options
  }

  static func adamOptions(step: Int, decoupled: Bool) -> kiln_adam_options {
    var options = kiln_adam_defaults()
    options.lr = 0.01
    options.weight_decay = 0.1
    options.step = Int64(step)
    options.decoupled = decoupled ? 1 : 0
    return options
  }

  /// A tensor that is updated in place.
  static func state(_ shape: [Int], seed: UInt64, _ transform: (Double) -> Double = { $0 }) -> KernelCase.Output {
    .init(shape, initial: pseudoRandom(shape.reduce(1, *), seed: seed).map(transform), dense: true)
  }

  static func sgd(_ shape: [Int], _ options: kiln_sgd_options) -> KernelCase {
    let buffer = options.momentum == 0 ? [] : [state(shape, seed: 2)]
    var update = KernelCase(
      "sgd \(shape) momentum \(options.momentum) nesterov \(options.nesterov)",
      inputs: [.real(shape, seed: 3, dense: true)], outputs: [state(shape, seed: 1)] + buffer
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options
        return kiln_sgd(context, p[0], outputs.count > 1 ? p[1] : nil, p[p.count - 1], &options)
      }
    }
    update.hasNarrow = false
    return update
  }

  static func adam(_ shape: [Int], _ options: kiln_adam_options) -> KernelCase {
    var update = KernelCase(
      "adam \(shape) decoupled \(options.decoupled)", inputs: [.real(shape, seed: 4, dense: true)],
      outputs: [state(shape, seed: 1), state(shape, seed: 2), state(shape, seed: 3) { $0 * $0 + 0.01 }]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options
        return kiln_adam(context, p[0], p[1], p[2], p[3], &options)
      }
    }
    update.hasNarrow = false
    return update
  }

  @Test(arguments: laneLengths) func everyInstructionSet(n: Int) {
    var scaled = Self.sgdOptions(nesterov: true)
    scaled.grad_scale = 0.3
    for options in [Self.sgdOptions(momentum: 0), Self.sgdOptions(), scaled] { Self.sgd([n], options).check() }
    var coupled = Self.adamOptions(step: 7, decoupled: false)
    coupled.grad_scale = 0.3
    for options in [coupled, Self.adamOptions(step: 7, decoupled: true)] { Self.adam([n], options).check() }
  }

  /// More than one span of work (16384 elements).
  @Test func manyElements() {
    Self.sgd([2, 8200], Self.sgdOptions(momentum: 0)).check()
    Self.adam([2, 8200], Self.adamOptions(step: 1000, decoupled: true)).check()
  }

  /// Three steps from (1, -2, 3) with the gradients (.1, -.2, .3) times 1, -2 and 3, every state starting at 0.
  static func threeSteps(
    _ context: TestContext, _ dtype: kiln_dtype, states: Int,
    _ update: (OpaquePointer, [UnsafePointer<kiln_tensor>], _ step: Int) -> kiln_status
  ) -> [Double] {
    let weights = TestTensor([3], dtype, values: [1, -2, 3])
    let kept = (0..<states).map { _ in TestTensor([3], dtype, values: [0, 0, 0]) }
    for (index, factor) in [1.0, -2, 3].enumerated() {
      let gradient = TestTensor([3], dtype, values: [0.1 * factor, -0.2 * factor, 0.3 * factor])
      let views = ([weights] + kept + [gradient]).map(\.view)
      let status = withPointers(views) { update(context.handle, $0, index + 1) }
      #expect(status == KILN_OK, "\(context.lastError)")
    }
    return weights.values
  }

  /// Computed in fp64 from the published rules by another program.
  static let golden: [(name: String, weights: [Double])] = [
    ("momentum", [0.975312789, -1.950625578, 2.925938367]),
    ("nesterov", [0.954805613, -1.909611225, 2.864416838]),
    ("adam", [0.980811595, -1.980783554, 2.980774207]),
    ("adamw", [0.987247953, -1.984250952, 2.981253951]),
  ]

  @Test(arguments: golden) func goldenVectors(name: String, weights: [Double]) {
    let contexts = [TestContext(device: KILN_DEVICE_REF)] + TestContext.availableISAs.map { TestContext(isa: $0) }
    for (context, dtype) in contexts.map({ ($0, KILN_F32) }) + [(contexts[0], KILN_F64)] {
      let got: [Double]
      if name == "momentum" || name == "nesterov" {
        got = Self.threeSteps(context, dtype, states: 1) { handle, p, _ in
          var options = Self.sgdOptions(nesterov: name == "nesterov")
          return kiln_sgd(handle, p[0], p[1], p[2], &options)
        }
      } else {
        got = Self.threeSteps(context, dtype, states: 2) { handle, p, step in
          var options = Self.adamOptions(step: step, decoupled: name == "adamw")
          return kiln_adam(handle, p[0], p[1], p[2], p[3], &options)
        }
      }
      let tolerance = dtype == KILN_F64 ? 1e-9 : 1e-6
      #expect(zip(got, weights).allSatisfy { abs($0 - $1) < tolerance }, "\(name): \(got)")
    }
  }

  @Test func notFiniteGradientsShow() {
    for isa in TestContext.availableISAs {
      for update in [Self.sgd([17], Self.sgdOptions()), Self.adam([17], Self.adamOptions(step: 1, decoupled: true))] {
        var bad = update
        bad.inputs[0].values[3] = .nan
        bad.inputs[0].values[16] = .infinity
        for output in bad.run(TestContext(isa: isa), KILN_F32).map(\.values) {
          #expect(!output[3].isFinite && !output[16].isFinite && output[4].isFinite)
        }
      }
    }
  }

  @Test func refusesOptionsOutsideTheirRange() {
    func sgdFails(_ text: String, _ change: (inout kiln_sgd_options) -> Void) {
      var options = Self.sgdOptions()
      change(&options)
      Self.sgd([4], options).expectFailure(KILN_ERR_OPTION, text)
    }
    sgdFails("lr is nan, not a finite number") { $0.lr = .nan }
    sgdFails("momentum is 1, not in [0, 1)") { $0.momentum = 1 }
    sgdFails("weight_decay is inf") { $0.weight_decay = .infinity }
    sgdFails("grad_scale is nan") { $0.grad_scale = .nan }
    sgdFails("nesterov needs momentum > 0") {
      $0.momentum = 0
      $0.nesterov = 1
    }
    func adamFails(_ text: String, _ change: (inout kiln_adam_options) -> Void) {
      var options = Self.adamOptions(step: 1, decoupled: true)
      change(&options)
      Self.adam([4], options).expectFailure(KILN_ERR_OPTION, text)
    }
    adamFails("step is 0, not 1 or more") { $0.step = 0 }
    adamFails("beta1 is 1, not in [0, 1)") { $0.beta1 = 1 }
    adamFails("beta2 is -0.1, not in [0, 1)") { $0.beta2 = -0.1 }
    adamFails("eps is 0, not a positive number in fp32") { $0.eps = 0 }
    adamFails("eps is 1e-60") { $0.eps = 1e-60 }
    adamFails("grad_scale is inf") { $0.grad_scale = .infinity }
  }

  @Test func refusesTensorsThatDoNotFit() {
    var bad = Self.sgd([4], Self.sgdOptions())
    bad.inputs[0] = .real([5])
    bad.expectFailure(KILN_ERR_SHAPE, "numbers of elements differ: g is [5], w is [4]")
    bad = Self.sgd([4], Self.sgdOptions())
    bad.call = { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = Self.sgdOptions()
        return kiln_sgd(context, p[0], nil, p[2], &options)
      }
    }
    bad.expectFailure(KILN_ERR_NULL, "m is NULL")
    bad.call = { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = Self.sgdOptions(momentum: 0)
        return kiln_sgd(context, p[0], p[1], p[2], &options)
      }
    }
    bad.expectFailure(KILN_ERR_OPTION, "m is given but momentum is 0")
    var gap = Self.adam([3, 4], Self.adamOptions(step: 1, decoupled: true))
    gap.call = { context, outputs, inputs in
      var views = outputs + inputs
      views[0].strides.0 = 5
      return withPointers(views) { kiln_adam(context, $0[0], $0[1], $0[2], $0[3], nil) }
    }
    gap.expectFailure(KILN_ERR_STRIDE, "w is not dense")
    for var narrow in [
      Self.sgd([4], Self.sgdOptions(momentum: 0)), Self.adam([4], Self.adamOptions(step: 1, decoupled: true)),
    ] {
      let call = narrow.call
      narrow.call = { context, outputs, inputs in
        var views = outputs
        views[0].dtype = KILN_F16
        return call(context, views, inputs)
      }
      narrow.expectFailure(KILN_ERR_DTYPE, "w is f16, not f32 or f64")
    }
  }
}
