import CKernels
import Foundation
import KilnTestSupport
import Testing

/// The accuracy of the vector exp, sigmoid and erf, seen through the activations, against fp64.
struct VecMathTests {
  static func sweep(_ from: Double, _ to: Double, _ count: Int = 20_011) -> [Double] {
    (0..<count).map { Double(Float(from + (to - from) * Double($0) / Double(count - 1))) }
  }

  static func value(_ kind: kiln_activation, _ x: [Double], _ isa: kiln_isa) -> [Double] {
    var forward = ActivationTests.forward([x.count], kind)
    forward.inputs = [.real([x.count], x)]
    return forward.run(TestContext(isa: isa), KILN_F32)[0].values
  }

  static func slope(_ kind: kiln_activation, _ x: [Double], _ isa: kiln_isa) -> [Double] {
    var backward = ActivationTests.backward([x.count], kind)
    backward.inputs = [.real([x.count], [Double](repeating: 1, count: x.count)), .real([x.count], x)]
    return backward.run(TestContext(isa: isa), KILN_F32)[0].values
  }

  /// The largest error, in units that depend on x and the true value.
  static func worst(
    _ values: [Double], _ x: [Double], _ truth: (Double) -> Double, unit: (Double, Double) -> Double
  ) -> Double {
    zip(values, x).map { value, x in abs(value - truth(x)) / unit(x, truth(x)) }.max() ?? .infinity
  }

  static func ulp(_: Double, _ truth: Double) -> Double {
    Double(max(abs(Float(truth)), Float.leastNormalMagnitude).ulp)
  }

  static let k = (2 / Double.pi).squareRoot()
  static func geluTanh(_ x: Double) -> Double { x / (1 + exp(-2 * k * (x + 0.044715 * x * x * x))) }
  static func geluErf(_ x: Double) -> Double { x / 2 * erfc(-x / 2.squareRoot()) }
  static func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

  @Test(arguments: TestContext.availableISAs) func valuesInUlps(isa: kiln_isa) {
    // x e^x to the left: the relative error of exp. 2 ulp of it, 1 each of the sum, the quotient and the product.
    let wide = Self.sweep(-86, 88)
    #expect(Self.worst(Self.value(KILN_ACT_SILU, wide, isa), wide, Self.silu, unit: Self.ulp) < 5)
    // The argument's rounding is magnified by up to 2u = 10 in the exponential, where that is small against 1.
    let positive = Self.sweep(0, 12)
    #expect(Self.worst(Self.value(KILN_ACT_GELU_TANH, positive, isa), positive, Self.geluTanh, unit: Self.ulp) < 5)
    #expect(Self.worst(Self.value(KILN_ACT_GELU_ERF, positive, isa), positive, Self.geluErf, unit: Self.ulp) < 5)
  }

  @Test(arguments: TestContext.availableISAs) func absoluteErrors(isa: kiln_isa) {
    let x = Self.sweep(-12, 12)
    let unit: (Double, Double) -> Double = { x, _ in 0x1p-24 * max(1, abs(x)) }
    #expect(Self.worst(Self.value(KILN_ACT_GELU_TANH, x, isa), x, Self.geluTanh, unit: unit) < 4)
    #expect(Self.worst(Self.value(KILN_ACT_GELU_ERF, x, isa), x, Self.geluErf, unit: unit) < 4)

    let h = 1e-5
    func difference(_ f: @escaping (Double) -> Double) -> (Double) -> Double { { (f($0 + h) - f($0 - h)) / (2 * h) } }
    #expect(Self.worst(Self.slope(KILN_ACT_GELU_TANH, x, isa), x, difference(Self.geluTanh), unit: unit) < 6)
    #expect(Self.worst(Self.slope(KILN_ACT_GELU_ERF, x, isa), x, difference(Self.geluErf), unit: unit) < 6)
    #expect(Self.worst(Self.slope(KILN_ACT_SILU, x, isa), x, difference(Self.silu), unit: unit) < 6)
  }

  @Test(arguments: TestContext.availableISAs) func limits(isa: kiln_isa) {
    let far = [-Double.infinity, -1e38, -1e20, -1e5, 1e5, 1e20, 1e38, .infinity].map { Double(Float($0)) }
    let smooth = [KILN_ACT_GELU_TANH, KILN_ACT_GELU_ERF, KILN_ACT_SILU]
    for kind in smooth + [KILN_ACT_RELU] {
      #expect(Self.value(kind, far, isa) == [0, 0, 0, 0] + far[4...])
      let slopes = Self.slope(kind, far, isa)
      #expect(zip(slopes, [0, 0, 0, 0, 1, 1, 1, 1]).allSatisfy { abs($0 - $1) < 1e-30 })
      #expect(Self.value(kind, [0, -0.0], isa) == [0, 0])
    }
    for kind in smooth { #expect(Self.slope(kind, [0], isa) == [0.5]) }
    #expect(Self.slope(KILN_ACT_RELU, [0, -0.0], isa) == [0, 0])
  }

  @Test(arguments: TestContext.availableISAs) func notANumberStaysOne(isa: kiln_isa) {
    for kind in ActivationTests.kinds {
      #expect(Self.value(kind, [1, .nan, 1], isa)[1].isNaN)
      #expect(!Self.value(kind, [1, .nan, 1], isa)[0].isNaN)
      if kind != KILN_ACT_NONE { #expect(Self.slope(kind, [.nan], isa)[0].isNaN) }
    }
  }

  @Test func referenceHasTheSameLimits() {
    for kind in ActivationTests.kinds.dropFirst() {
      var forward = ActivationTests.forward([4], kind)
      forward.inputs = [.real([4], [-.infinity, .infinity, .nan, -1e30])]
      for dtype in [KILN_F32, KILN_F64] {
        let values = forward.run(TestContext(device: KILN_DEVICE_REF), dtype)[0].values
        #expect(values[0] == 0 && values[1] == .infinity && values[2].isNaN && values[3] == 0)
      }
    }
  }
}
