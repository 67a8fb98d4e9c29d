import CKernels
import KilnTestSupport
import Testing

struct ActivationTests {
  static let kinds = [KILN_ACT_NONE, KILN_ACT_RELU, KILN_ACT_GELU_TANH, KILN_ACT_GELU_ERF, KILN_ACT_SILU]

  static func options(_ kind: kiln_activation) -> kiln_activation_options {
    var options = kiln_activation_defaults()
    options.kind = kind
    return options
  }

  static func forward(_ shape: [Int], _ kind: kiln_activation) -> KernelCase {
    KernelCase(
      "activation_fwd \(kind.rawValue) \(shape)", inputs: [.real(shape, seed: 1, scale: 5)], outputs: [.init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(kind)
        return kiln_activation_fwd(context, p[0], p[1], &options)
      }
    }
  }

  static func backward(_ shape: [Int], _ kind: kiln_activation, upstream: KernelCase.Operand? = nil) -> KernelCase {
    KernelCase(
      "activation_bwd \(kind.rawValue) \(shape)",
      inputs: [upstream ?? .real(shape, seed: 2), .real(shape, seed: 1, scale: 5)], outputs: [.init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(kind)
        return kiln_activation_bwd(context, p[0], p[1], p[2], &options)
      }
    }
  }

  static func gated(_ shape: [Int]) -> KernelCase {
    KernelCase(
      "swiglu_fwd \(shape)", inputs: [.real(shape, seed: 1, scale: 5), .real(shape, seed: 2)], outputs: [.init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_swiglu_fwd(context, $0[0], $0[1], $0[2]) }
    }
  }

  static func gatedBackward(_ shape: [Int], upstream: KernelCase.Operand? = nil) -> KernelCase {
    KernelCase(
      "swiglu_bwd \(shape)",
      inputs: [upstream ?? .real(shape, seed: 3), .real(shape, seed: 1, scale: 5), .real(shape, seed: 2)],
      outputs: [.init(shape), .init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_swiglu_bwd(context, $0[0], $0[1], $0[2], $0[3], $0[4]) }
    }
  }

  @Test(arguments: laneLengths) func everyInstructionSet(length: Int) {
    for kind in Self.kinds {
      Self.forward([3, length], kind).check()
      Self.backward([3, length], kind).check()
    }
    Self.gated([3, length]).check()
    Self.gatedBackward([3, length]).check()
  }

  @Test(arguments: [[], [2, 3, 5, 1], [2, 1, 3, 7]]) func shapes(shape: [Int]) {
    Self.forward(shape, KILN_ACT_GELU_TANH).check()
    Self.gatedBackward(shape).check()
  }

  /// Rows longer than a span, and several rows to a chunk.
  @Test(arguments: [[2, 16_400], [2, 160, 53]]) func largeShapes(shape: [Int]) {
    Self.forward(shape, KILN_ACT_RELU).checkExact()
  }

  @Test func emptyTensorsAreFine() {
    let context = TestContext()
    for tensor in Self.forward([0, 5], KILN_ACT_SILU).run(context, KILN_F32) { #expect(tensor.values.isEmpty) }
  }

  @Test(arguments: kinds) func gradients(kind: kiln_activation) {
    Self.forward([4, 9], kind).checkGradient(wrt: [0]) { upstream, _ in
      let backward = Self.backward([4, 9], kind)
      return KernelCase("", inputs: [upstream, backward.inputs[1]], outputs: backward.outputs, call: backward.call)
    }
  }

  @Test func gradientsOfSwiGLU() {
    Self.gated([4, 9]).checkGradient(wrt: [0, 1]) { upstream, _ in Self.gatedBackward([4, 9], upstream: upstream) }
  }

  @Test func inPlace() {
    let values = pseudoRandom(100, seed: 5)
    let more = pseudoRandom(100, seed: 6)
    for isa in TestContext.availableISAs {
      let context = TestContext(isa: isa)
      var options = Self.options(KILN_ACT_GELU_ERF)
      let apart = TestTensor([100])
      let x = TestTensor([100], values: values)
      _ = withPointers([apart.view, x.view]) { kiln_activation_fwd(context.handle, $0[0], $0[1], &options) }
      _ = withPointers([x.view]) { kiln_activation_fwd(context.handle, $0[0], $0[0], &options) }
      #expect(x.bits == apart.bits)

      let dgate = TestTensor([100])
      let dup = TestTensor([100])
      let gate = TestTensor([100], values: values)
      let up = TestTensor([100], values: more)
      let dy = TestTensor([100], values: more)
      _ = withPointers([dgate.view, dup.view, dy.view, gate.view, up.view]) {
        kiln_swiglu_bwd(context.handle, $0[0], $0[1], $0[2], $0[3], $0[4])
      }
      _ = withPointers([dy.view, gate.view, up.view]) {
        kiln_swiglu_bwd(context.handle, $0[1], $0[2], $0[0], $0[1], $0[2])
      }
      #expect(gate.bits == dgate.bits && up.bits == dup.bits)
    }
  }

  @Test func refusesWhatDoesNotFit() {
    Self.forward([3, 4], kiln_activation(9)).expectFailure(KILN_ERR_OPTION, "unknown activation 9")
    var bad = Self.backward([3, 4], KILN_ACT_SILU)
    bad.inputs[0] = .real([3, 5])
    bad.expectFailure(KILN_ERR_SHAPE, "dy is [3, 5], x is [3, 4]")
    bad = Self.gated([3, 4])
    bad.outputs[0] = .init([3, 4], isDouble: true)
    bad.expectFailure(KILN_ERR_DTYPE, "y is f64, not f32")

    let context = TestContext()
    let x = TestTensor([3, 4])
    let y = TestTensor([3, 4])
    var transposed = x.view
    transposed.strides.0 = 1
    transposed.strides.1 = 3
    let status = withPointers([y.view, transposed]) { kiln_activation_fwd(context.handle, $0[0], $0[1], nil) }
    #expect(status == KILN_ERR_STRIDE)
    #expect(context.lastError == "activation_fwd: x has stride 3 in its last dimension, not 1")
  }
}

struct DropoutTests {
  static func options(
    _ probability: Float, seed: UInt64 = 7, step: UInt64 = 3, site: UInt32 = 2
  ) -> kiln_dropout_options {
    var options = kiln_dropout_defaults()
    options.probability = probability
    options.seed = seed
    options.step = step
    options.site = site
    return options
  }

  static func dropout(_ shape: [Int], _ options: kiln_dropout_options, values: [Double]? = nil) -> KernelCase {
    KernelCase(
      "dropout \(shape)", inputs: [.real(shape, values, seed: 1)], outputs: [.init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options
        return kiln_dropout(context, p[0], p[1], &options)
      }
    }
  }

  static func mask(_ count: Int, _ options: kiln_dropout_options) -> [Bool] {
    let ones = [Double](repeating: 1, count: count)
    return dropout([count], options, values: ones).run(TestContext(), KILN_F32)[0].values.map { $0 != 0 }
  }

  @Test(arguments: laneLengths) func everyInstructionSet(length: Int) {
    Self.dropout([5, length], Self.options(0.25)).check()
    Self.dropout([5, length], Self.options(0.25)).checkExact()
  }

  @Test(arguments: [[2, 16_400], [2, 160, 53]]) func largeShapes(shape: [Int]) {
    Self.dropout(shape, Self.options(0.25)).checkExact()
  }

  @Test func followsTheElementRule() {
    let options = Self.options(0.3, seed: 0x1234_5678_9ABC_DEF0, step: 0xFEDC_BA98_7654_3210, site: 77)
    let mask = Self.mask(1000, options)
    var words: [UInt32] = [0, 0, 0, 0]
    for element in 0..<1000 {
      let counter: [UInt32] = [UInt32(element / 4), 77, 0x7654_3210, 0xFEDC_BA98]
      kiln_philox4x32(&words, counter, [0x9ABC_DEF0, 0x1234_5678])
      #expect(mask[element] == (Float(words[element % 4]) >= 0.3 * 0x1p32))
    }
  }

  @Test(arguments: [0.1, 0.5, 0.9] as [Float]) func dropsAsOftenAsAsked(probability: Float) {
    let count = 50_000
    let kept = Double(Self.mask(count, Self.options(probability)).filter { $0 }.count)
    let expected = Double(count) * Double(1 - probability)
    let deviation = (expected * Double(probability)).squareRoot()
    #expect(abs(kept - expected) < 5 * deviation)
  }

  @Test func drawsAnewForEachSeedStepAndSite() {
    let mask = Self.mask(200, Self.options(0.5))
    #expect(mask == Self.mask(200, Self.options(0.5)))
    #expect(mask != Self.mask(200, Self.options(0.5, seed: 8)))
    #expect(mask != Self.mask(200, Self.options(0.5, seed: 7 + 1 << 32)))
    #expect(mask != Self.mask(200, Self.options(0.5, step: 4)))
    #expect(mask != Self.mask(200, Self.options(0.5, step: 3 + 1 << 32)))
    #expect(mask != Self.mask(200, Self.options(0.5, site: 3)))
    #expect(mask[0..<100] == Self.mask(100, Self.options(0.5))[...], "an element's fate must not depend on the size")
  }

  @Test func backwardIsTheSameCall() {
    Self.dropout([5, 13], Self.options(0.4)).checkGradient(wrt: [0]) { upstream, _ in
      Self.dropout([5, 13], Self.options(0.4), values: upstream.values)
    }
  }

  @Test func keepsAllAtProbabilityZero() {
    let values = pseudoRandom(33, seed: 4)
    #expect(Self.dropout([33], Self.options(0), values: values).run(TestContext(), KILN_F32)[0].values == values)
  }

  @Test(arguments: [1, -0.1, 2, .nan] as [Float]) func refusesOtherProbabilities(probability: Float) {
    Self.dropout([4], Self.options(probability)).expectFailure(KILN_ERR_OPTION, "is not in [0, 1)")
  }
}
