import CKernels
import Foundation
import KilnTestSupport
import Testing

struct RopeTests {
  typealias View = UnsafePointer<kiln_tensor>
  typealias Function = (OpaquePointer?, View?, View?, View?, UnsafePointer<kiln_rope_options>?) -> kiln_status

  static func rotation(
    _ shape: [Int], positions: [Int]? = nil, x: [Double]? = nil, _ function: @escaping Function = kiln_rope_fwd,
    options: kiln_rope_options = kiln_rope_defaults()
  ) -> KernelCase {
    let positions = positions ?? (0..<shape[1]).map { $0 * 37 % 101 - 3 }
    return KernelCase(
      "rope \(shape)", inputs: [.real(shape, x, seed: 1), .integers([positions.count], positions)],
      outputs: [.init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options
        return function(context, p[0], p[1], p[2], &options)
      }
    }
  }

  static func llama3(factor: Double, original: Int64, base: Double) -> kiln_rope_options {
    var options = kiln_rope_defaults()
    options.scaling = KILN_ROPE_LLAMA3
    options.factor = factor
    options.original_context = original
    options.base = base
    return options
  }

  /// Radians per position of each plane, read off the rotation of (1, ..., 1, 0, ..., 0) at position 1.
  static func frequencies(_ d: Int, _ options: kiln_rope_options) -> [Double] {
    let x = [Double](repeating: 1, count: d / 2) + [Double](repeating: 0, count: d / 2)
    let y = rotation([1, 1, 1, d], positions: [1], x: x, options: options).run(TestContext(), KILN_F64)[0].values
    return (0..<d / 2).map { atan2(y[$0 + d / 2], y[$0]) }
  }

  @Test(arguments: laneLengths) func everyInstructionSet(half: Int) {
    Self.rotation([2, 3, 2, 2 * half]).check()
    Self.rotation([2, 3, 2, 2 * half], kiln_rope_bwd).check()
  }

  @Test func manyRows() {
    Self.rotation([2, 300, 1, 8]).check()
  }

  @Test func goldenValues() {
    let y = Self.rotation([1, 1, 1, 4], positions: [3], x: [1, 2, 3, 4]).run(TestContext(), KILN_F64)[0].values
    for (value, expected) in zip(y, [-1.413352521, 1.879118067, -2.828857482, 4.058191135]) {
      #expect(abs(value - expected) < 1e-9)
    }
  }

  @Test func backwardTurnsBack() {
    let forward = Self.rotation([2, 3, 2, 10])
    forward.checkGradient(wrt: [0]) { upstream, _ in Self.rotation([2, 3, 2, 10], x: upstream.values, kiln_rope_bwd) }
  }

  @Test func inPlace() {
    let context = TestContext()
    let values = pseudoRandom(2 * 3 * 2 * 10, seed: 5)
    let apart = Self.rotation([2, 3, 2, 10], x: values).run(context, KILN_F32)[0]
    var inPlace = Self.rotation([2, 3, 2, 10], x: values)
    inPlace.outputs[0].initial = values
    inPlace.call = { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_rope_fwd(context, $0[0], $0[0], $0[2], nil) }
    }
    #expect(inPlace.run(context, KILN_F32)[0].bits == apart.bits)
  }

  /// Against ROPE_INIT_FUNCTIONS["llama3"] of transformers 5.24, which computes in fp32.
  @Test func scalesAsLlama3() {
    let small = Self.frequencies(8, Self.llama3(factor: 8, original: 64, base: 10000))
    for (value, expected) in zip(small, [1, 0.0130422562, 0.00124999997, 0.000125000006]) {
      #expect(abs(value / expected - 1) < 1e-6)
    }
    let large = Self.frequencies(64, Self.llama3(factor: 32, original: 8192, base: 500000))
    let expected = [
      0: 1, 1: 0.663601279, 14: 0.00321144611, 15: 0.00129054801, 16: 0.000429556705, 17: 9.70828623e-05,
      18: 1.94616387e-05, 31: 9.41830649e-08,
    ]
    for (plane, frequency) in expected { #expect(abs(large[plane] / frequency - 1) < 1e-6, "plane \(plane)") }
  }

  @Test func scalesLinearly() {
    var options = kiln_rope_defaults()
    options.scaling = KILN_ROPE_LINEAR
    options.factor = 4
    for (value, expected) in zip(Self.frequencies(4, options), [0.25, 0.0025]) {
      #expect(abs(value / expected - 1) < 1e-12)
    }
  }

  @Test func propagatesNotANumber() {
    var x = pseudoRandom(8, seed: 1)
    x[2] = .nan
    for isa in TestContext.availableISAs {
      let y = Self.rotation([1, 1, 1, 8], x: x).run(TestContext(isa: isa), KILN_F32)[0].values
      #expect(y[2].isNaN && y[6].isNaN && !y[0].isNaN)
    }
  }

  @Test func acceptsNothing() {
    for shape in [[0, 2, 1, 4], [1, 0, 1, 4], [1, 2, 0, 4], [1, 2, 1, 0]] {
      _ = Self.rotation(shape).run(TestContext(), KILN_F32)
    }
  }

  @Test func refusesWhatDoesNotFit() {
    Self.rotation([1, 2, 1, 5]).expectFailure(KILN_ERR_SHAPE, "x is [1, 2, 1, 5], not [b, t, h, d] with d even")
    Self.rotation([1, 2, 5], kiln_rope_bwd).expectFailure(KILN_ERR_SHAPE, "dy is [1, 2, 5]")
    Self.rotation([1, 2, 1, 4], positions: [0, 1, 2]).expectFailure(KILN_ERR_SHAPE, "positions is [3], not [2]")
    var options = kiln_rope_defaults()
    options.base = 0
    Self.rotation([1, 2, 1, 4], options: options).expectFailure(KILN_ERR_OPTION, "base is 0")
    options = Self.llama3(factor: .nan, original: 64, base: 10000)
    Self.rotation([1, 2, 1, 4], options: options).expectFailure(KILN_ERR_OPTION, "factor is nan")
    options = Self.llama3(factor: 8, original: 64, base: 10000)
    options.low_freq_factor = 4
    Self.rotation([1, 2, 1, 4], options: options).expectFailure(KILN_ERR_OPTION, "low_freq_factor 4")
    options = Self.llama3(factor: 8, original: 0, base: 10000)
    Self.rotation([1, 2, 1, 4], options: options).expectFailure(KILN_ERR_OPTION, "original_context is 0")
  }
}
