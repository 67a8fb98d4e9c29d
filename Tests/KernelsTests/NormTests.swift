import CKernels
import KilnTestSupport
import Testing

struct NormTests {
  static func options(accumulate: Bool = false) -> kiln_norm_options {
    var options = kiln_norm_defaults()
    options.accumulate_dx = accumulate ? 1 : 0
    options.accumulate_params = accumulate ? 1 : 0
    return options
  }

  static func layerForward(rows: [Int], _ c: Int) -> KernelCase {
    KernelCase(
      "layer_norm_fwd \(rows) \(c)",
      inputs: [.real(rows + [c], seed: 1), .real([c], seed: 2, wide: true), .real([c], seed: 3, wide: true)],
      outputs: [.init(rows + [c])]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options()
        return kiln_layer_norm_fwd(context, p[0], p[1], p[2], p[3], &options)
      }
    }
  }

  static func layerBackward(rows: [Int], _ c: Int, accumulate: Bool = false, upstream: KernelCase.Operand? = nil)
    -> KernelCase
  {
    let start: ([Int]) -> [Double]? = { shape in accumulate ? pseudoRandom(shape.reduce(1, *), seed: 8) : nil }
    return KernelCase(
      "layer_norm_bwd \(rows) \(c) accumulate \(accumulate)",
      inputs: [upstream ?? .real(rows + [c], seed: 4), .real(rows + [c], seed: 1), .real([c], seed: 2, wide: true)],
      outputs: [
        .init(rows + [c], initial: start(rows + [c])), .init([c], initial: start([c]), wide: true),
        .init([c], initial: start([c]), wide: true),
      ]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(accumulate: accumulate)
        return kiln_layer_norm_bwd(context, p[0], p[1], p[2], p[3], p[4], p[5], &options)
      }
    }
  }

  static func rmsForward(rows: [Int], _ c: Int) -> KernelCase {
    KernelCase(
      "rms_norm_fwd \(rows) \(c)", inputs: [.real(rows + [c], seed: 1), .real([c], seed: 2, wide: true)],
      outputs: [.init(rows + [c])]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_rms_norm_fwd(context, $0[0], $0[1], $0[2], nil) }
    }
  }

  static func rmsBackward(rows: [Int], _ c: Int, upstream: KernelCase.Operand? = nil) -> KernelCase {
    KernelCase(
      "rms_norm_bwd \(rows) \(c)",
      inputs: [upstream ?? .real(rows + [c], seed: 4), .real(rows + [c], seed: 1), .real([c], seed: 2, wide: true)],
      outputs: [.init(rows + [c]), .init([c], wide: true)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_rms_norm_bwd(context, $0[0], $0[1], $0[2], $0[3], $0[4], nil) }
    }
  }

  @Test(arguments: laneLengths.filter { $0 > 1 }) func everyInstructionSet(c: Int) {
    Self.layerForward(rows: [5], c).check()
    Self.layerBackward(rows: [5], c).check(ulps: 32)
    Self.layerBackward(rows: [5], c, accumulate: true).check(ulps: 32)
    Self.rmsForward(rows: [5], c).check()
    Self.rmsBackward(rows: [5], c).check(ulps: 32)
  }

  @Test func manyRows() {
    Self.layerForward(rows: [3, 20], 1000).check()
    Self.layerBackward(rows: [3, 20], 1000).check(ulps: 32)
  }

  @Test func gradients() {
    Self.layerForward(rows: [4], 9).checkGradient(wrt: [0, 1, 2]) { upstream, _ in
      Self.layerBackward(rows: [4], 9, upstream: upstream)
    }
    Self.rmsForward(rows: [4], 9).checkGradient(wrt: [0, 1]) { upstream, _ in
      Self.rmsBackward(rows: [4], 9, upstream: upstream)
    }
  }

  @Test func refusesWhatDoesNotFit() {
    var bad = Self.layerForward(rows: [5], 8)
    bad.inputs[1] = .real([7])
    bad.expectFailure(KILN_ERR_SHAPE, "gain is [7], not [8]")
    bad = Self.rmsBackward(rows: [5], 8)
    bad.inputs[0] = .real([5, 7])
    bad.expectFailure(KILN_ERR_SHAPE, "dy is [5, 7], x is [5, 8]")
  }
}
