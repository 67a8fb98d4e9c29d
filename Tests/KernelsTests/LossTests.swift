import CKernels
import Foundation
import KilnTestSupport
import Testing

struct LossTests {
  /// Targets all over the vocabulary; each `ignoreEvery`-th is ignored.
  static func targets(_ n: Int, _ v: Int, ignoreEvery: Int) -> KernelCase.Operand {
    .integers([n], (0..<n).map { ($0 + 1) % ignoreEvery == 0 ? -100 : ($0 * 7 + 3) % v })
  }

  static func options(
    scale: Float, accumulate: Bool = false, losses: UnsafePointer<kiln_tensor>? = nil
  ) -> kiln_cross_entropy_options {
    var options = kiln_cross_entropy_defaults()
    options.scale = scale
    options.accumulate_dw = accumulate ? 1 : 0
    options.losses = losses
    return options
  }

  /// Outputs: dlogits, loss, losses.
  static func crossEntropy(
    _ n: Int, _ v: Int, ignoreEvery: Int = .max, magnitude: Double = 1, scale: Float = 0.5
  ) -> KernelCase {
    KernelCase(
      "cross_entropy \(n) \(v)", inputs: [.real([n, v], scale: magnitude), targets(n, v, ignoreEvery: ignoreEvery)],
      outputs: [.init([n, v]), .init([], wide: true), .init([n], wide: true)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(scale: scale, losses: p[2])
        return kiln_cross_entropy(context, p[1], p[0], p[3], p[4], &options)
      }
    }
  }

  /// Outputs: dx, dw, loss.
  static func linear(
    _ n: Int, _ v: Int, _ c: Int, ignoreEvery: Int = .max, accumulateInto start: [Double]? = nil, scale: Float = 0.5
  ) -> KernelCase {
    KernelCase(
      "linear_cross_entropy \(n) \(v) \(c)",
      inputs: [.real([n, c], seed: 1), .real([v, c], seed: 2), targets(n, v, ignoreEvery: ignoreEvery)],
      outputs: [.init([n, c]), .init([v, c], initial: start, wide: true), .init([], wide: true)]
    ) { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = options(scale: scale, accumulate: start != nil)
        return kiln_linear_cross_entropy(context, p[2], p[0], p[1], p[3], p[4], p[5], &options)
      }
    }
  }

  @Test(arguments: laneLengths.filter { $0 > 1 }) func everyInstructionSet(v: Int) {
    Self.crossEntropy(5, v).check(ulps: 16)
    Self.crossEntropy(5, v, ignoreEvery: 2, magnitude: 30).check(ulps: 16)
    Self.linear(5, v, 9, ignoreEvery: 3).check(ulps: 16, narrowUlps: 2)
    Self.linear(5, v, 9, accumulateInto: pseudoRandom(v * 9, seed: 8)).check(ulps: 16, narrowUlps: 2)
  }

  /// Three panels of logits, each with the largest ones so far: exponentials made before are scaled down, in the last
  /// row to nothing.
  @Test func risingLogits() {
    let (v, c) = (4100, 3)
    var rising = Self.linear(4, v, c, ignoreEvery: 3)
    let heights = (0..<v).map { Double($0 / 1025) }
    rising.inputs[0] = .real([4, c], [0, 1, 0.5, 12, -1, 0.25, 1, 2, 3, 40, 0.5, 1])
    rising.inputs[1] = .real([v, c], zip(heights, pseudoRandom(v, seed: 4)).flatMap { [$0, $1, 1 - $1] })
    rising.inputs[2] = .integers([4], [4099, 2049, -100, 4096])
    rising.check(ulps: 16, narrowUlps: 2)
  }

  /// About equal logits, whose exponentials add up to more than f16 holds.
  @Test func largeSums() {
    var even = Self.linear(2, 70_000, 2)
    even.inputs[0] = .real([2, 2], scale: 0.1)
    even.check(ulps: 16, narrowUlps: 2)
  }

  @Test func largeVocabulary() { Self.crossEntropy(1, 50257, magnitude: 10).check() }

  @Test func gradients() {
    Self.crossEntropy(4, 9, ignoreEvery: 3).checkGradient(of: 1, wrt: [0]) { upstream, _ in
      Self.crossEntropy(4, 9, ignoreEvery: 3, scale: 0.5 * Float(upstream.values[0]))
    }
    Self.linear(4, 9, 5, ignoreEvery: 3).checkGradient(of: 2, wrt: [0, 1]) { upstream, _ in
      Self.linear(4, 9, 5, ignoreEvery: 3, scale: 0.5 * Float(upstream.values[0]))
    }
  }

  /// 270 rows of GPT-2's vocabulary are cut into two blocks of 135: the same as two calls, the second accumulating.
  @Test func blocksOfRows() {
    let (v, c, half) = (50257, 2, 135)
    let context = TestContext(threads: 2)
    let whole = Self.linear(2 * half, v, c)
    let expected = whole.run(context, KILN_F32)
    func part(_ rows: Range<Int>, accumulateInto start: [Double]?) -> [TestTensor] {
      var part = Self.linear(half, v, c, accumulateInto: start)
      part.inputs[0] = .real([half, c], Array(whole.inputs[0].values[rows.lowerBound * c..<rows.upperBound * c]))
      part.inputs[2] = .integers([half], whole.inputs[2].values[rows].map { Int($0) })
      return part.run(context, KILN_F32)
    }
    let first = part(0..<half, accumulateInto: nil)
    let second = part(half..<2 * half, accumulateInto: first[1].values)
    #expect(expected[0].values == first[0].values + second[0].values)
    #expect(expected[1].values == second[1].values)
    let loss = first[2].values[0] + second[2].values[0]
    #expect(abs(expected[2].values[0] - loss) < 1e-6 * loss)
  }

  /// Two rows by hand: uniform logits cost log 4; a row with 0.75 and 0.25 costs -log 0.25.
  @Test func knownValues() {
    var known = Self.crossEntropy(2, 4, scale: 1)
    let far = -200.0
    known.inputs = [.real([2, 4], [7, 7, 7, 7, log(3), 0, far, far]), .integers([2], [2, 1])]
    for context in [TestContext(), TestContext(device: KILN_DEVICE_REF)] {
      let outputs = known.run(context, KILN_F32).map(\.values)
      let (gradient, loss, losses) = (outputs[0], outputs[1], outputs[2])
      let expected = [0.25, 0.25, -0.75, 0.25, 0.75, -0.75, 0, 0]
      #expect(zip(gradient, expected).allSatisfy { abs($0 - $1) < 1e-6 })
      #expect(losses.allSatisfy { abs($0 - log(4)) < 1e-6 })
      #expect(abs(loss[0] - 2 * log(4)) < 1e-6)
    }
  }

  @Test func gradientMayTakeThePlaceOfTheLogits() {
    let separate = Self.crossEntropy(5, 67)
    var inPlace = separate
    inPlace.inputs = [separate.inputs[1]]
    inPlace.outputs[0].initial = separate.inputs[0].values
    inPlace.call = { context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var options = Self.options(scale: 0.5, losses: p[2])
        return kiln_cross_entropy(context, p[1], p[0], p[0], p[3], &options)
      }
    }
    for isa in TestContext.availableISAs {
      let context = TestContext(isa: isa)
      let (a, b) = (separate.run(context, KILN_F32), inPlace.run(context, KILN_F32))
      #expect(zip(a, b).allSatisfy { $0.bits == $1.bits })
    }
  }

  @Test func everyGradientIsOptional() {
    let whole = Self.linear(5, 13, 8)
    for context in [TestContext(), TestContext(device: KILN_DEVICE_REF)] {
      let expected = whole.run(context, KILN_F32).map(\.values)
      for (wantsDx, wantsDw) in [(true, false), (false, true), (false, false)] {
        var part = whole
        part.outputs = [whole.outputs[2]] + (wantsDx ? [whole.outputs[0]] : []) + (wantsDw ? [whole.outputs[1]] : [])
        part.call = { context, outputs, inputs in
          withPointers(outputs + inputs) { p in
            var options = Self.options(scale: 0.5)
            let (x, w, targets) = (p[p.count - 3], p[p.count - 2], p[p.count - 1])
            let dx = wantsDx ? p[1] : nil
            let dw = wantsDw ? p[wantsDx ? 2 : 1] : nil
            return kiln_linear_cross_entropy(context, p[0], dx, dw, x, w, targets, &options)
          }
        }
        let got = part.run(context, KILN_F32).map(\.values)
        #expect(got == [expected[2]] + (wantsDx ? [expected[0]] : []) + (wantsDw ? [expected[1]] : []))
      }
    }
  }

  @Test func ignoredRowsCostNothing() {
    for context in [TestContext(), TestContext(device: KILN_DEVICE_REF)] {
      let alone = Self.crossEntropy(3, 9, ignoreEvery: 1).run(context, KILN_F32)
      let fused = Self.linear(3, 9, 4, ignoreEvery: 1).run(context, KILN_F32)
      #expect((alone + fused).allSatisfy { $0.values.allSatisfy { $0 == 0 } })
      let noRows = Self.linear(0, 9, 4).run(context, KILN_F32)
      #expect(noRows.allSatisfy { $0.values.allSatisfy { $0 == 0 } })
    }
  }

  /// Wherever a NaN or an infinity stands, its row's loss and the sum show it; a logit of -infinity has probability 0.
  @Test func notFiniteLogits() {
    for isa in TestContext.availableISAs {
      for place in [0, 5, 15, 16] {
        for poison in [Double.nan, .infinity] {
          var bad = Self.crossEntropy(2, 17)
          bad.inputs[0].values[17 + place] = poison
          let outputs = bad.run(TestContext(isa: isa), KILN_F32).map(\.values)
          #expect(outputs[1][0].isNaN && outputs[2][1].isNaN && outputs[2][0].isFinite)
          #expect(outputs[0][17 + place].isNaN && outputs[0][..<17].allSatisfy(\.isFinite))
        }
      }
      var masked = Self.crossEntropy(1, 17)
      masked.inputs[0].values[16] = -.infinity
      let outputs = masked.run(TestContext(isa: isa), KILN_F32).map(\.values)
      #expect(outputs[1][0].isFinite && outputs[0][16] == 0)
    }
  }

  @Test func queryModeFindsTheScratch() {
    let context = TestContext()
    let view: ([Int64], kiln_dtype) -> kiln_tensor = { kiln_tensor_dense(nil, $1, Int32($0.count), $0) }
    kiln_context_set_query(context.handle, true)
    for dtype in [KILN_F32, KILN_BF16, KILN_F16] {
      let views = [
        view([], KILN_F32), view([4096, 768], dtype), view([50257, 768], KILN_F32), view([50257, 768], dtype),
        view([4096], KILN_I32),
      ]
      kiln_context_reset_workspace_peak(context.handle)
      let status = withPointers(views) { p in
        kiln_linear_cross_entropy(context.handle, p[0], p[1], p[2], p[1], p[3], p[4], nil)
      }
      #expect(status == KILN_OK, "\(context.lastError)")
      let peak = kiln_context_workspace_peak(context.handle)
      #expect(peak > 30 << 20 && peak < 64 << 20, "\(peak) bytes")
    }
  }

  @Test func refusesWhatDoesNotFit() {
    var bad = Self.crossEntropy(3, 8)
    bad.inputs[1] = .integers([3], [0, 8, 0])
    bad.expectFailure(KILN_ERR_INDEX, "targets[1] is 8, outside 0 ..< 8 and not -100 (ignored)")
    bad.inputs[1] = .integers([3], [0, 0, -1])
    bad.expectFailure(KILN_ERR_INDEX, "targets[2] is -1")
    bad.inputs[1] = .integers([2], [0, 0])
    bad.expectFailure(KILN_ERR_SHAPE, "targets is [2], not [3]")
    bad = Self.crossEntropy(3, 8)
    bad.outputs[0] = .init([3, 7])
    bad.expectFailure(KILN_ERR_SHAPE, "dlogits is [3, 7], logits is [3, 8]")
    bad = Self.crossEntropy(3, 8)
    bad.outputs[1] = .init([2])
    bad.expectFailure(KILN_ERR_SHAPE, "loss is [2], not one element")
    Self.crossEntropy(3, 8, scale: .infinity).expectFailure(KILN_ERR_OPTION, "scale is inf, not a finite number")
    bad = Self.linear(3, 8, 4)
    bad.inputs[1] = .real([8, 5])
    bad.expectFailure(KILN_ERR_SHAPE, "x is [3, 4], w is [8, 5], not [n, c] and [v, c]")
    bad = Self.linear(3, 8, 4)
    bad.outputs[1] = .init([4, 8])
    bad.expectFailure(KILN_ERR_SHAPE, "dw is [4, 8], w is [8, 4]")
  }

  /// A bad target is found before anything is written.
  @Test func failureWritesNothing() {
    var bad = Self.linear(3, 8, 4, accumulateInto: [Double](repeating: 5, count: 32))
    bad.inputs[2] = .integers([3], [0, 0, 99])
    let context = TestContext()
    let tensors = bad.inputs.map { TestTensor($0.shape, $0.isInteger ? KILN_I32 : KILN_F32, values: $0.values) }
    let outputs = [([3, 4], 12), ([8, 4], 32), ([], 1)].map { shape, count in
      TestTensor(shape, values: [Double](repeating: 5, count: count))
    }
    #expect(bad.call(context.handle, outputs.map(\.view), tensors.map(\.view)) == KILN_ERR_INDEX)
    #expect(outputs.allSatisfy { $0.values.allSatisfy { $0 == 5 } })
  }
}
