import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Weights in bf16 without a copy in fp32.
struct OptimWeightsTests {
  typealias Memory = OptimStatesTests.Memory

  /// SGD's w -= lr g, `steps` times, from w on; the weights, and what stands beside them.
  private func descend(
    _ context: TestContext, _ w: [Float], _ g: [Float], lr: Double, steps: Int, remainder: Bool, seed: UInt64 = 1
  ) -> (weights: [Float], sums: [Double]) {
    let n = w.count
    let kept = Memory(w.map { UInt16(bf16($0).bitPattern >> 16) })
    let (rest, gradient) = (Memory([UInt16](repeating: 0, count: n)), Memory(g))
    withPointers([kept.view(KILN_BF16, n), gradient.view(KILN_F32, n), rest.view(KILN_BF16, n)]) { p in
      for step in 1...steps {
        var o = kiln_sgd_defaults()
        o.lr = lr
        (o.states.seed, o.states.step, o.states.site) = (seed, UInt64(step), 3)
        o.states.remainder = remainder ? p[2] : nil
        #expect(kiln_sgd(context.handle, p[0], nil, p[1], &o) == KILN_OK, "\(context.lastError)")
      }
    }
    func floats(_ memory: Memory) -> [Float] {
      let halves: [UInt16] = memory.array()
      return halves.map { Float(bitPattern: UInt32($0) << 16) }
    }
    let weights = floats(kept)
    return (weights, zip(weights, floats(rest)).map { Double($0) + Double($1) })
  }

  private func bf16(_ x: Float) -> Float {
    Float(bitPattern: (x.bitPattern + 0x7fff + (x.bitPattern >> 16 & 1)) & 0xffff_0000)
  }

  /// A thousand updates of a ten-thousandth each, of which rounding to the nearest would lose every one.
  @Test func smallUpdatesAddUp() {
    let n = 1027
    let start = [Float](repeating: 1, count: n)
    let gradient = [Float](repeating: -1, count: n)
    for context in OptimStatesTests.contexts {
      let kahan = descend(context, start, gradient, lr: 1e-4, steps: 1000, remainder: true)
      #expect(kahan.sums.allSatisfy { abs($0 - 1.1) < 0.01 }, "\(kahan.sums[0])")
      let random = descend(context, start, gradient, lr: 1e-4, steps: 1000, remainder: false)
      let mean = random.weights.reduce(0) { $0 + Double($1) } / Double(n)
      #expect(abs(mean - 1.1) < 4e-3, "\(mean)")
      #expect(Set(random.weights).count > 1)
    }
  }

  /// Weight and remainder follow the sum in fp64 to 16 bits in each step.
  @Test func theRemainderIsWhatRoundingLeavesOut() {
    let n = 20_000
    let start = pseudoRandom(n, seed: 3).map { bf16(Float($0)) }
    let gradient = pseudoRandom(n, seed: 4).map { Float($0) }
    for context in OptimStatesTests.contexts {
      let (weights, sums) = descend(context, start, gradient, lr: 0.01, steps: 1, remainder: true)
      let exact = zip(start, gradient).map { Double($0) - 0.01 * Double($1) }
      #expect(zip(weights, exact).allSatisfy { abs(Double($0) - $1) <= 0x1p-8 * abs($1) })
      #expect(zip(sums, exact).allSatisfy { abs($0 - $1) <= 0x1p-16 * abs($1) })
    }
  }

  @Test func theSameBitsForAnyInstructionSetAndThreads() {
    let n = 70_000
    let start = pseudoRandom(n, seed: 5).map { bf16(Float($0)) }
    let gradient = pseudoRandom(n, seed: 6).map { Float($0) }
    for remainder in [true, false] {
      func run(_ context: TestContext) -> [Double] {
        let (weights, sums) = descend(context, start, gradient, lr: 0x1p-7, steps: 3, remainder: remainder, seed: 9)
        return weights.map { Double($0) } + sums
      }
      let expected = run(TestContext(device: KILN_DEVICE_REF))
      for context in TestContext.availableISAs.map({ TestContext(isa: $0, threads: 2) })
        + [1, 3].map({ TestContext(threads: $0) })
      {
        #expect(run(context) == expected)
      }
    }
  }

  @Test func refusals() {
    let context = TestContext()
    let (narrow, wide) = (Memory([UInt16](repeating: 0, count: 64)), Memory([Float](repeating: 0, count: 64)))
    withPointers([narrow.view(KILN_BF16, 64), wide.view(KILN_F32, 64), narrow.view(KILN_BF16, 32)]) { p in
      #expect(kiln_schedule_free(context.handle, p[0], p[1], p[1], p[1], nil) == KILN_ERR_DTYPE)
      #expect(context.lastError == "schedule_free: w is bf16, not f32 or f64")
      #expect(kiln_adafactor(context.handle, p[0], p[1], nil, nil, p[1], nil) == KILN_ERR_DTYPE)
      var o = kiln_sgd_defaults()
      o.states.remainder = p[1]
      #expect(kiln_sgd(context.handle, p[0], nil, p[1], &o) == KILN_ERR_DTYPE)
      o.states.remainder = p[2]
      #expect(kiln_sgd(context.handle, p[0], nil, p[1], &o) == KILN_ERR_SHAPE)
      o = kiln_sgd_defaults()
      #expect(kiln_sgd(context.handle, p[0], nil, p[0], &o) == KILN_ERR_DTYPE)
      #expect(context.lastError == "sgd: g is bf16, not f32")
    }
    var rows = narrow.view(KILN_BF16, 64)
    (rows.rank, rows.shape.0, rows.shape.1, rows.strides.0, rows.strides.1) = (2, 8, 8, 8, 1)
    withPointers([rows, wide.view(KILN_F32, 64)]) { p in
      var o = kiln_sgd_defaults()
      o.group = 1
      #expect(kiln_sgd(context.handle, p[0], nil, p[1], &o) == KILN_ERR_DTYPE)
      #expect(context.lastError == "sgd: group needs w in f32, and it is bf16")
    }
  }
}
