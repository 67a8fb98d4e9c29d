import CKernels
import KilnTestSupport
import Testing

struct EmbeddingTests {
  static func options(_ accumulate: Bool) -> kiln_embedding_options {
    var options = kiln_embedding_defaults()
    options.accumulate = accumulate ? 1 : 0
    return options
  }

  static func start(_ shape: [Int], _ accumulate: Bool) -> [Double]? {
    accumulate ? pseudoRandom(shape.reduce(1, *), seed: 8) : nil
  }

  static func forward(
    rows: [Int], _ c: Int, v: Int, idShape: [Int], _ ids: [Int], accumulate: Bool = false, wideTable: Bool = false
  ) -> KernelCase {
    KernelCase(
      "embedding_fwd \(rows) \(c) ids \(idShape) accumulate \(accumulate)",
      inputs: [.real([v, c], seed: 1, wide: wideTable), .integers(idShape, ids)],
      outputs: [.init(rows + [c], initial: start(rows + [c], accumulate))]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(accumulate)
        return kiln_embedding_fwd(context, p[0], p[1], p[2], &options)
      }
    }
  }

  static func backward(
    rows: [Int], _ c: Int, v: Int, idShape: [Int], _ ids: [Int], accumulate: Bool = false,
    upstream: KernelCase.Operand? = nil
  ) -> KernelCase {
    KernelCase(
      "embedding_bwd \(rows) \(c) ids \(idShape) accumulate \(accumulate)",
      inputs: [upstream ?? .real(rows + [c], seed: 2), .integers(idShape, ids)],
      outputs: [.init([v, c], initial: start([v, c], accumulate), wide: true)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(accumulate)
        return kiln_embedding_bwd(context, p[0], p[1], p[2], &options)
      }
    }
  }

  @Test(arguments: laneLengths) func everyInstructionSet(c: Int) {
    for accumulate in [false, true] {
      Self.forward(rows: [2, 3], c, v: 4, idShape: [2, 3], [3, 0, 3, 1, 3, 0], accumulate: accumulate).check()
      Self.forward(
        rows: [2, 3], c, v: 4, idShape: [2, 3], [3, 0, 3, 1, 3, 0], accumulate: accumulate, wideTable: true
      ).check()
      Self.backward(rows: [2, 3], c, v: 4, idShape: [2, 3], [3, 0, 3, 1, 3, 0], accumulate: accumulate).check()
    }
  }

  @Test func repeatsFewerIds() {
    Self.forward(rows: [4, 3], 9, v: 5, idShape: [3], [4, 0, 2]).check()
    Self.backward(rows: [4, 3], 9, v: 5, idShape: [3], [4, 0, 2]).check()
    let repeated = Self.forward(rows: [2, 3], 9, v: 5, idShape: [3], [4, 0, 2]).run(TestContext(), KILN_F32)
    let written = Self.forward(rows: [2, 3], 9, v: 5, idShape: [6], [4, 0, 2, 4, 0, 2]).run(TestContext(), KILN_F32)
    #expect(repeated[0].bits == written[0].bits)
  }

  /// Wide enough for several strips of columns, and a table of several chunks whose rows mostly are not met.
  @Test func largeTables() {
    let ids = (0..<130).map { $0 * $0 % 7 }
    Self.backward(rows: [130], 150, v: 7, idShape: [130], ids).checkExact()
    Self.forward(rows: [130], 150, v: 7, idShape: [130], ids).checkExact()
    Self.backward(rows: [3], 70, v: 300, idShape: [3], [299, 0, 150]).checkExact()
  }

  @Test func sumsInOrder() {
    // 1e8 + 1 is 1e8 in fp32: only in this order is the sum 0.
    var backward = Self.backward(rows: [3], 1, v: 2, idShape: [3], [1, 1, 1])
    backward.inputs[0] = .real([3, 1], [1e8, 1, -1e8])
    for isa in TestContext.availableISAs {
      #expect(backward.run(TestContext(isa: isa, threads: 3), KILN_F32)[0].values == [0, 0])
    }
  }

  @Test func gradients() {
    let ids = [3, 0, 3, 1, 3, 0]
    Self.forward(rows: [2, 3], 5, v: 4, idShape: [2, 3], ids).checkGradient(wrt: [0]) { upstream, _ in
      Self.backward(rows: [2, 3], 5, v: 4, idShape: [2, 3], ids, upstream: upstream)
    }
  }

  @Test func emptyTensorsAreFine() {
    let context = TestContext()
    #expect(Self.forward(rows: [0], 5, v: 4, idShape: [0], []).run(context, KILN_F32)[0].values.isEmpty)
    let zeroed = Self.backward(rows: [0], 5, v: 4, idShape: [0], []).run(context, KILN_F32)[0].values
    #expect(zeroed == [Double](repeating: 0, count: 20))
  }

  @Test func refusesWhatDoesNotFit() {
    Self.forward(rows: [2, 2], 5, v: 4, idShape: [2, 2], [0, 1, 4, 2])
      .expectFailure(KILN_ERR_INDEX, "embedding_fwd: element 2 of ids is 4, outside 0 ..< 4")
    Self.backward(rows: [2, 2], 5, v: 4, idShape: [2, 2], [0, -1, 3, 2])
      .expectFailure(KILN_ERR_INDEX, "embedding_bwd: element 1 of ids is -1, outside 0 ..< 4")
    Self.forward(rows: [2, 2], 5, v: 4, idShape: [3], [0, 1, 2])
      .expectFailure(KILN_ERR_SHAPE, "ids is [3]: 3 elements do not divide 4 rows")
    var bad = Self.forward(rows: [2, 2], 5, v: 4, idShape: [4], [0, 1, 2, 3])
    bad.inputs[0] = .real([4, 6])
    bad.expectFailure(KILN_ERR_SHAPE, "y is [2, 2, 5], table is [4, 6], not [..., c] and [v, c]")
    bad.inputs[1] = .real([4])
    bad.inputs[0] = .real([4, 5])
    bad.expectFailure(KILN_ERR_DTYPE, "ids is f32, not i32")
  }

  @Test func gradientsOfTablesAreWide() {
    let context = TestContext()
    let narrow = TestTensor([4, 5], KILN_BF16)
    let dy = TestTensor([2, 5], KILN_BF16)
    let ids = TestTensor([2], KILN_I32, values: [0, 3])
    let status = withPointers([narrow.view, dy.view, ids.view]) {
      kiln_embedding_bwd(context.handle, $0[0], $0[1], $0[2], nil)
    }
    #expect(status == KILN_ERR_DTYPE && context.lastError == "embedding_bwd: dtable is bf16, not f32")
  }

  @Test func writesNothingOnABadId() {
    let context = TestContext()
    let values = pseudoRandom(20, seed: 3)
    let dtable = TestTensor([4, 5], values: values)
    let dy = TestTensor([2, 5], values: pseudoRandom(10, seed: 4))
    let ids = TestTensor([2], KILN_I32, values: [0, 4])
    let status = withPointers([dtable.view, dy.view, ids.view]) {
      kiln_embedding_bwd(context.handle, $0[0], $0[1], $0[2], nil)
    }
    #expect(status == KILN_ERR_INDEX)
    #expect(dtable.values == values)
  }
}
