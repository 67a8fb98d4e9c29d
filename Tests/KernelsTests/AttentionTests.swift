import CKernels
import Foundation
import KilnTestSupport
import Testing

/// The sizes of one attention.
struct AttentionShape: CustomStringConvertible {
  var b = 1, tq: Int, tk: Int, h = 2, group = 1, d: Int
  var causal: Bool
  var window = 0
  var offsets: [[Int]] = []  // of the sequences in each batch row; none for one sequence
  var scale: Float = 0
  var spread = 1.0  // the size of q's values

  var hkv: Int { h / group }
  var q: [Int] { [b, tq, h, d] }
  var k: [Int] { [b, tk, hkv, d] }
  var lse: [Int] { [b, h, tq] }
  var description: String {
    "b \(b) tq \(tq) tk \(tk) h \(h)/\(hkv) d \(d)\(causal ? " causal" : "") window \(window) \(offsets)"
  }

  func options(_ offsets: UnsafePointer<kiln_tensor>? = nil) -> kiln_attention_options {
    var options = kiln_attention_defaults()
    options.causal = causal ? 1 : 0
    options.window = Int64(window)
    options.scale = scale
    options.offsets = offsets
    return options
  }

  var inputs: [KernelCase.Operand] {
    [.real(q, seed: 1, scale: spread), .real(k, seed: 2), .real(k, seed: 3)]
      + (offsets.isEmpty ? [] : [.integers([b, offsets[0].count], offsets.flatMap { $0 })])
  }

  var forward: KernelCase {
    KernelCase("attention_fwd \(self)", inputs: inputs, outputs: [.init(q), .init(lse, wide: true)]) {
      context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(p.count > 5 ? p[5] : nil)
        return kiln_attention_fwd(context, p[0], p[1], p[2], p[3], p[4], &options)
      }
    }
  }

  /// With o and lse of the reference.
  func backward(upstream: KernelCase.Operand? = nil) -> KernelCase {
    let saved = forward.run(TestContext(device: KILN_DEVICE_REF), KILN_F64).map(\.values)
    let known: [KernelCase.Operand] = [
      upstream ?? .real(q, seed: 4), .real(q, saved[0]), .real(lse, saved[1], wide: true),
    ]
    return KernelCase(
      "attention_bwd \(self)", inputs: known + inputs, outputs: [.init(q), .init(k), .init(k)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(p.count > 9 ? p[9] : nil)
        var saved = kiln_attention_saved(q: p[6], k: p[7], v: p[8], o: p[4], lse: p[5])
        return kiln_attention_bwd(context, p[0], p[1], p[2], p[3], &saved, &options)
      }
    }
  }

  func check() {
    forward.check()
    guard tk > 1 else { return }  // a single key has probability 1: dq and dk are 0
    // The gradients are sums of products of sums, and cancel (the rows of ds sum to 0): their error goes with what is
    // summed, not with the largest result.
    backward().check(ulps: 64)
  }
}

struct AttentionTests {
  @Test(arguments: [1, 3, 8, 16, 17, 64, 80]) func everyWidth(d: Int) {
    AttentionShape(tq: 11, tk: 13, h: 1, d: d, causal: true).check()
    AttentionShape(tq: 5, tk: 7, h: 1, d: d, causal: false).check()
  }

  /// Around the borders of vectors and tiles.
  @Test(arguments: [
    (1, 1), (1, 130), (2, 97), (5, 5), (63, 64), (64, 63), (65, 65), (95, 97), (97, 95), (130, 130), (5, 130),
  ])
  func everyLength(tq: Int, tk: Int) {
    AttentionShape(tq: tq, tk: tk, h: 1, d: 2, causal: false).check()
    AttentionShape(tq: tq, tk: tk, h: 1, d: 3, causal: true).check()
  }

  @Test(arguments: [1, 2, 4]) func groupedHeads(group: Int) {
    AttentionShape(b: 2, tq: 9, tk: 9, h: 4, group: group, d: 4, causal: true).check()
    AttentionShape(b: 1, tq: 100, tk: 100, h: 4, group: group, d: 1, causal: true).check()
  }

  /// Two key heads in two batches: the backward is cut in two parts each, of several blocks.
  @Test func manyBlocks() {
    AttentionShape(b: 2, tq: 200, tk: 200, h: 4, group: 2, d: 2, causal: true).check()
  }

  @Test func fewQueries() {
    AttentionShape(b: 2, tq: 1, tk: 100, h: 4, group: 2, d: 16, causal: true).check()
    AttentionShape(tq: 2, tk: 197, h: 1, d: 16, causal: true).check()
    AttentionShape(tq: 4, tk: 10, h: 1, d: 80, causal: true).check()
    AttentionShape(tq: 3, tk: 300, h: 6, group: 6, d: 32, causal: true).check()
  }

  @Test func wideHead() {
    AttentionShape(tq: 7, tk: 8, h: 1, d: 256, causal: true).check()
  }

  @Test func gradients() {
    for causal in [false, true] {
      let shape = AttentionShape(b: 2, tq: 5, tk: 7, h: 4, group: 2, d: 3, causal: causal, scale: 0.7)
      shape.forward.checkGradient(wrt: [0, 1, 2]) { upstream, _ in shape.backward(upstream: upstream) }
    }
  }

  @Test(arguments: [true, false]) func slidingWindow(causal: Bool) {
    for (tq, tk, window) in [(5, 5, 2), (11, 13, 4), (13, 11, 5), (110, 110, 7), (130, 230, 100), (1, 130, 60)] {
      AttentionShape(tq: tq, tk: tk, h: 1, d: 3, causal: causal, window: window).check()
    }
    AttentionShape(b: 2, tq: 3, tk: 130, h: 4, group: 2, d: 16, causal: causal, window: 20).check()
    let shape = AttentionShape(b: 2, tq: 6, tk: 7, h: 4, group: 2, d: 3, causal: causal, window: 3)
    shape.forward.checkGradient(wrt: [0, 1, 2]) { upstream, _ in shape.backward(upstream: upstream) }
  }

  /// With empty sequences, of one token, beyond tiles, and positions that belong to none, before and after.
  @Test(arguments: [true, false]) func packedSequences(causal: Bool) {
    let offsets = [[0, 3, 3, 4, 100, 130], [5, 20, 90, 120, 125, 125]]
    var shape = AttentionShape(b: 2, tq: 130, tk: 130, h: 2, group: 2, d: 2, causal: causal, offsets: offsets)
    shape.check()
    shape.window = 9
    shape.check()
    AttentionShape(tq: 4, tk: 4, h: 1, d: 16, causal: causal, offsets: [[0, 1, 4]]).check()
    shape = AttentionShape(b: 2, tq: 7, tk: 7, h: 4, group: 2, d: 3, causal: causal, offsets: [[0, 2, 7], [1, 5, 5]])
    shape.forward.checkGradient(wrt: [0, 1, 2]) { upstream, _ in shape.backward(upstream: upstream) }
  }

  /// Each packed sequence gives what it gives alone; what belongs to none gives 0.
  @Test func packedSequencesAreApart() {
    let shape = AttentionShape(tq: 150, tk: 150, h: 1, d: 8, causal: true, offsets: [[0, 10, 140]])
    let alone = AttentionShape(tq: 130, tk: 130, h: 1, d: 8, causal: true)
    var part = alone.forward
    for index in 0..<3 { part.inputs[index].values = Array(shape.inputs[index].values[80..<1120]) }
    for isa in TestContext.availableISAs {
      let o = shape.forward.run(TestContext(isa: isa), KILN_F32)
      let expected = part.run(TestContext(isa: isa), KILN_F32)
      #expect(zip(o[0].values[80..<1120], expected[0].values).allSatisfy { abs($0 - $1) < 1e-6 })
      #expect(o[0].values[1120...].allSatisfy { $0 == 0 } && o[1].values[140...].allSatisfy { $0 == -.infinity })
    }
  }

  @Test func refusesOffsetsThatDoNotFit() {
    var shape = AttentionShape(b: 2, tq: 9, tk: 9, d: 4, causal: true, offsets: [[0, 4, 9], [0, 7, 5]])
    shape.forward.expectFailure(KILN_ERR_OPTION, "offsets[1, 2] is 5, after 7: they ascend within 0...9")
    shape.offsets = [[0, 4, 9], [0, 4, 10]]
    shape.forward.expectFailure(KILN_ERR_OPTION, "offsets[1, 2] is 10, after 4: they ascend within 0...9")
    shape.offsets = [[-1, 4, 9], [0, 4, 9]]
    shape.forward.expectFailure(KILN_ERR_OPTION, "offsets[0, 0] is -1, after 0")
    var bad = shape.forward
    bad.inputs[3] = .integers([3, 3], [Int](repeating: 0, count: 9))
    bad.expectFailure(KILN_ERR_SHAPE, "offsets is [3, 3], not [2, sequences + 1]")
    bad.inputs[3] = .real([2, 3])
    bad.expectFailure(KILN_ERR_DTYPE, "offsets")
    shape = AttentionShape(tq: 9, tk: 10, d: 4, causal: true, offsets: [[0, 9]])
    shape.forward.expectFailure(KILN_ERR_SHAPE, "offsets need as many queries as keys, not 9 and 10")
    AttentionShape(tq: 9, tk: 9, d: 4, causal: true, window: -1).forward.expectFailure(
      KILN_ERR_OPTION, "window is -1: it counts keys")
  }

  /// Scores up to some hundreds: their exponentials alone would overflow.
  @Test func largeScores() {
    let shape = AttentionShape(tq: 9, tk: 100, h: 1, d: 16, causal: false, scale: 1, spread: 100)
    shape.check()
    #expect(shape.forward.run(TestContext(), KILN_F32)[1].values.contains { $0 > 150 })
  }

  /// lse of equal scores is the log of the number of visible keys.
  @Test func logSumExp() {
    var equal = AttentionShape(tq: 100, tk: 120, h: 1, d: 8, causal: true).forward
    equal.inputs[0].values = equal.inputs[0].values.map { _ in 0 }
    for isa in TestContext.availableISAs {
      let lse = equal.run(TestContext(isa: isa), KILN_F32)[1].values
      for (query, value) in lse.enumerated() { #expect(abs(value - log(Double(query + 21))) < 1e-6) }
    }
  }

  /// tq > tk with a causal mask: the first tq - tk queries see nothing.
  @Test(arguments: [(5, 2), (100, 30), (2, 1)]) func queriesWithoutKeys(tq: Int, tk: Int) {
    let shape = AttentionShape(tq: tq, tk: tk, h: 1, d: 4, causal: true)
    shape.check()
    for isa in TestContext.availableISAs {
      let results = shape.forward.run(TestContext(isa: isa), KILN_F32)
      let gradients = shape.backward().run(TestContext(isa: isa), KILN_F32)
      for query in 0..<tq - tk {
        #expect(results[1].values[query] == -.infinity)
        #expect(results[0].values[query * 4..<query * 4 + 4].allSatisfy { $0 == 0 })
        #expect(gradients[0].values[query * 4..<query * 4 + 4].allSatisfy { $0 == 0 })
      }
    }
  }

  /// A NaN shows in every output that depends on it, however the maximum treats it.
  @Test(arguments: [0, 1, 2]) func propagatesNotANumber(input: Int) {
    let shape = AttentionShape(tq: 40, tk: 40, h: 1, d: 8, causal: true)
    var spoilt = shape.forward
    spoilt.inputs[input].values[17 * 8 + 3] = .nan
    for isa in TestContext.availableISAs {
      let o = spoilt.run(TestContext(isa: isa), KILN_F32)[0].values
      let expected = input == 0 ? [17] : Array(17..<40)
      for query in expected {
        let row = o[query * 8..<query * 8 + 8]
        #expect(row.enumerated().allSatisfy { $1.isNaN || (input == 2 && $0 != 3) }, "query \(query)")
      }
      #expect(o[0..<8].allSatisfy { $0.isFinite })
    }
  }

  @Test func propagatesInfinity() {
    for isa in TestContext.availableISAs {
      for sign in [1.0, -1.0] {
        var spoilt = AttentionShape(tq: 1, tk: 3, h: 1, d: 1, causal: false).forward
        spoilt.inputs[0].values = [.infinity]
        spoilt.inputs[1].values = [sign, sign, sign]
        #expect(spoilt.run(TestContext(isa: isa), KILN_F32)[0].values[0].isNaN)
      }
    }
  }

  @Test func withoutLogSumExp() {
    let shape = AttentionShape(tq: 10, tk: 10, d: 8, causal: true)
    var quiet = shape.forward
    quiet.outputs = [quiet.outputs[0]]
    quiet.call = { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = shape.options()
        return kiln_attention_fwd(context, p[0], nil, p[1], p[2], p[3], &options)
      }
    }
    #expect(quiet.run(TestContext(), KILN_F32)[0].bits == shape.forward.run(TestContext(), KILN_F32)[0].bits)
  }

  /// `count` heads of width d out of the last dimension of [b, t, heads * d], from head `first` on.
  static func part(_ packed: kiln_tensor, first: Int, count: Int, d: Int) -> kiln_tensor {
    var view = packed
    view.rank = 4
    view.offset += Int64(first * d * kiln_dtype_size(packed.dtype))
    view.shape.2 = Int64(count)
    view.shape.3 = Int64(d)
    view.strides.2 = Int64(d)
    view.strides.3 = 1
    return view
  }

  @Test func packedViews() {
    let shape = AttentionShape(b: 2, tq: 7, tk: 7, h: 4, group: 2, d: 8, causal: true)
    let heads = shape.h + 2 * shape.hkv
    let packed = [shape.b, shape.tq, heads * shape.d]
    func parts(_ tensor: kiln_tensor) -> [kiln_tensor] {
      [(0, shape.h), (shape.h, shape.hkv), (shape.h + shape.hkv, shape.hkv)].map {
        Self.part(tensor, first: $0.0, count: $0.1, d: shape.d)
      }
    }
    let forward = KernelCase(
      "packed attention_fwd", inputs: [.real(packed)], outputs: [.init(shape.q), .init(shape.lse, wide: true)]
    ) { context, outputs, inputs in
      withPointers(outputs + parts(inputs[0])) { p in
        var options = shape.options()
        return kiln_attention_fwd(context, p[0], p[1], p[2], p[3], p[4], &options)
      }
    }
    forward.check()
    let saved = forward.run(TestContext(device: KILN_DEVICE_REF), KILN_F64).map(\.values)
    let backward = KernelCase(
      "packed attention_bwd",
      inputs: [
        .real(packed), .real(shape.q, saved[0]), .real(shape.lse, saved[1], wide: true), .real(shape.q, seed: 4),
      ],
      outputs: [.init(packed)]
    ) { context, outputs, inputs in
      withPointers(parts(outputs[0]) + parts(inputs[0]) + inputs[1...]) { p in
        var options = shape.options()
        var saved = kiln_attention_saved(q: p[3], k: p[4], v: p[5], o: p[6], lse: p[7])
        return kiln_attention_bwd(context, p[0], p[1], p[2], p[8], &saved, &options)
      }
    }
    backward.check(ulps: 64)
  }

  @Test func acceptsNothing() {
    let context = TestContext()
    for shape in [
      AttentionShape(b: 0, tq: 2, tk: 2, d: 4, causal: true), AttentionShape(tq: 2, tk: 2, h: 0, d: 4, causal: true),
      AttentionShape(tq: 0, tk: 2, d: 4, causal: true), AttentionShape(tq: 2, tk: 0, d: 4, causal: true),
    ] {
      let results = shape.forward.run(context, KILN_F32) + shape.backward().run(context, KILN_F32)
      #expect(results.allSatisfy { $0.values.allSatisfy { $0 == 0 || $0 == -.infinity } }, "\(shape)")
    }
  }

  @Test func countsItsScratch() {
    let context = TestContext(threads: 2)
    let shape = AttentionShape(tq: 300, tk: 300, h: 1, d: 8, causal: true)
    kiln_context_set_query(context.handle, true)
    _ = shape.backward().run(context, KILN_F32)
    let asked = kiln_context_workspace_peak(context.handle)
    kiln_context_set_query(context.handle, false)
    kiln_context_reset_workspace_peak(context.handle)
    _ = shape.backward().run(context, KILN_F32)
    #expect(asked > 0 && kiln_context_workspace_peak(context.handle) == asked)
  }

  @Test func refusesWhatDoesNotFit() {
    let shape = AttentionShape(tq: 4, tk: 4, h: 4, group: 2, d: 8, causal: true)
    func forward(_ input: Int, _ dimensions: [Int]) -> KernelCase {
      var bad = shape.forward
      bad.inputs[input] = .real(dimensions)
      return bad
    }
    forward(1, [1, 4, 2, 7]).expectFailure(KILN_ERR_SHAPE, "k is [1, 4, 2, 7], not [b, tk, hkv, d] for q [1, 4, 4, 8]")
    forward(1, [1, 4, 3, 8]).expectFailure(KILN_ERR_SHAPE, "4 query heads are not a multiple of 3 key heads")
    forward(2, [1, 5, 2, 8]).expectFailure(KILN_ERR_SHAPE, "v is [1, 5, 2, 8], k is [1, 4, 2, 8]")
    forward(0, [4, 8]).expectFailure(KILN_ERR_SHAPE, "q is [4, 8], not [b, tq, h, d]")
    var bad = shape.forward
    bad.outputs[1] = .init([1, 4, 5])
    bad.expectFailure(KILN_ERR_SHAPE, "lse is [1, 4, 5], not [1, 4, 4]")
    bad = shape.backward()
    bad.outputs[1] = .init([1, 4, 4, 8])
    bad.expectFailure(KILN_ERR_SHAPE, "dk is [1, 4, 4, 8], k is [1, 4, 2, 8]")
    var scaled = shape
    scaled.scale = .infinity
    scaled.forward.expectFailure(KILN_ERR_OPTION, "scale is inf")
    bad = shape.forward
    bad.call = { context, outputs, inputs in
      var views = outputs + inputs
      views[2].strides.3 = 2
      return withPointers(views) { kiln_attention_fwd(context, $0[0], $0[1], $0[2], $0[3], $0[4], nil) }
    }
    bad.expectFailure(KILN_ERR_STRIDE, "q has stride 2 in its last dimension")
    bad.call = { context, _, _ in kiln_attention_bwd(context, nil, nil, nil, nil, nil, nil) }
    bad.expectFailure(KILN_ERR_NULL, "saved is NULL")
  }
}
