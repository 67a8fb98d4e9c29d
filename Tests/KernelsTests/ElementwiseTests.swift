import CKernels
import KilnTestSupport
import Testing

struct ElementwiseTests {
  static func add(_ shape: [Int]) -> KernelCase {
    KernelCase(
      "add \(shape)", inputs: [.real(shape, seed: 1), .real(shape, seed: 2)], outputs: [.init(shape)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_add(context, $0[0], $0[1], $0[2]) }
    }
  }

  static func sumSquares(_ shape: [Int], initial: Double? = nil, values: [Double]? = nil) -> KernelCase {
    KernelCase(
      "sum_squares \(shape)", inputs: [.real(shape, values, seed: 1, dense: true)],
      outputs: [.init([1], initial: initial.map { [$0] }, isDouble: true)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_sum_squares(context, $0[0], $0[1], initial != nil) }
    }
  }

  @Test(arguments: laneLengths.map { [3, $0] } + [[]]) func additions(shape: [Int]) {
    Self.add(shape).check(ulps: 1)
  }

  @Test(arguments: [[2, 16_400], [160, 2, 53]]) func largeAdditions(shape: [Int]) {
    Self.add(shape).checkExact()
  }

  @Test func addsInPlace() {
    let context = TestContext()
    let a = TestTensor([33], values: pseudoRandom(33, seed: 1))
    #expect(withPointers([a.view]) { kiln_add(context.handle, $0[0], $0[0], $0[0]) } == KILN_OK)
    #expect(a.values == pseudoRandom(33, seed: 1).map { 2 * $0 })
  }

  @Test(arguments: laneLengths) func sumsOfSquares(count: Int) {
    Self.sumSquares([count]).check()
    Self.sumSquares([count], initial: 3).check()
  }

  @Test(arguments: [131, 4095, 4096, 4097, 66_000]) func sumsOfSquaresInFP64(count: Int) {
    let exact = pseudoRandom(count, seed: 1 &+ UInt64(count)).reduce(0) { $0 + $1 * $1 }
    for isa in TestContext.availableISAs {
      let sums = [1, 3].map { Self.sumSquares([count]).run(TestContext(isa: isa, threads: $0), KILN_F32)[0].values[0] }
      #expect(abs(sums[0] - exact) <= exact * 1e-13)
      #expect(sums[0] == sums[1])
    }
  }

  @Test func sumsOfSquaresShowWhatIsNotFinite() {
    for isa in TestContext.availableISAs {
      for bad in [Double.nan, .infinity, -.infinity] {
        for place in [0, 4095, 4096, 5002] {
          var values = [Double](repeating: 1, count: 5003)
          values[place] = bad
          let sum = Self.sumSquares([5003], values: values).run(TestContext(isa: isa), KILN_F32)[0].values[0]
          #expect(!sum.isFinite)
        }
      }
      let large = [Double](repeating: 3e38, count: 5003)
      #expect(Self.sumSquares([5003], values: large).run(TestContext(isa: isa), KILN_F32)[0].values[0].isFinite)
    }
    #expect(Self.sumSquares([0, 3]).run(TestContext(), KILN_F32)[0].values == [0])
  }

  @Test func refusesWhatDoesNotFit() {
    var bad = Self.add([3, 4])
    bad.inputs[1] = .real([4, 3])
    bad.expectFailure(KILN_ERR_SHAPE, "b is [4, 3], a is [3, 4]")
    bad = Self.sumSquares([4])
    bad.outputs = [.init([1])]
    bad.expectFailure(KILN_ERR_DTYPE, "out is f32, not f64")
    bad.outputs = [.init([2], isDouble: true)]
    bad.expectFailure(KILN_ERR_SHAPE, "out is [2], not one element")
    let context = TestContext()
    let out = TestTensor([1], KILN_F64)
    let rows = TestTensor([2, 3], layout: .strided)
    let status = withPointers([out.view, rows.view]) { kiln_sum_squares(context.handle, $0[0], $0[1], false) }
    #expect(status == KILN_ERR_STRIDE)
  }

  /// 9 blocks of 4096 elements, 8 bytes each, in whole cache lines; nothing is written.
  @Test func asksForItsScratch() {
    let context = TestContext()
    let x = TestTensor([35_000])
    let out = TestTensor([1], KILN_F64)
    kiln_context_set_query(context.handle, true)
    #expect(withPointers([out.view, x.view]) { kiln_sum_squares(context.handle, $0[0], $0[1], false) } == KILN_OK)
    #expect(kiln_context_workspace_peak(context.handle) == 128)
    #expect(out.values[0].isNaN)
  }
}
