import CKernels
import Foundation
import KilnTestSupport
import Testing

/// States in bf16 and in 8-bit blocks.
struct OptimStatesTests {
  /// Weights, gradient and one or two states of narrow types, in plain arrays.
  final class Run {
    var w: [Float]
    var g: [Float]
    var codes: [[UInt8]]
    var scales: [[Float]]
    var halves: [[UInt16]]
    let kind: kiln_dtype

    init(_ count: Int, _ kind: kiln_dtype, seed: UInt64 = 1) {
      w = pseudoRandom(count, seed: seed).map { Float($0) }
      g = pseudoRandom(count, seed: seed + 1).map { Float($0) }
      self.kind = kind
      codes = [.init(repeating: 127, count: count), .init(repeating: 0, count: count)]
      scales = .init(repeating: .init(repeating: 0, count: (count + 255) / 256), count: 2)
      halves = .init(repeating: .init(repeating: 0, count: count), count: 2)
    }

    /// Calls `update` with w, both states, g and the options of the states.
    func step(
      _ context: TestContext, stochastic: UInt64? = nil,
      _ update: (OpaquePointer, [UnsafePointer<kiln_tensor>], kiln_state_options) -> kiln_status
    ) -> kiln_status {
      let n = w.count
      let first = kind == KILN_U8 ? Memory(codes[0]) : Memory(halves[0])
      let second = kind == KILN_U8 ? Memory(codes[1]) : Memory(halves[1])
      let (weights, gradient) = (Memory(w), Memory(g))
      let scaling = scales.map { Memory($0) }
      defer {
        w = weights.array()
        for (index, state) in [first, second].enumerated() {
          if kind == KILN_U8 { codes[index] = state.array() } else { halves[index] = state.array() }
        }
        scales = scaling.map { $0.array() }
      }
      let views = [
        weights.view(KILN_F32, n), first.view(kind, n), second.view(kind, n), gradient.view(KILN_F32, n),
        scaling[0].view(KILN_F32, scales[0].count), scaling[1].view(KILN_F32, scales[1].count),
      ]
      return withPointers(views) { p in
        var states = kiln_state_options()
        states.scales = (p[4], p[5])
        if let stochastic { (states.stochastic, states.seed, states.site) = (1, stochastic, 3) }
        return update(context.handle, p, states)
      }
    }
  }

  /// A copy of an array for C to write to.
  final class Memory {
    private let bytes: UnsafeMutableRawBufferPointer

    init<T>(_ values: [T]) {
      bytes = .allocate(byteCount: values.count * MemoryLayout<T>.stride, alignment: 64)
      values.withUnsafeBytes { bytes.copyMemory(from: $0) }
    }

    deinit { bytes.deallocate() }

    func array<T>() -> [T] { Array(bytes.bindMemory(to: T.self)) }

    func view(_ dtype: kiln_dtype, _ count: Int) -> kiln_tensor {
      [Int64(count)].withUnsafeBufferPointer { kiln_tensor_dense(bytes.baseAddress, dtype, 1, $0.baseAddress!) }
    }
  }

  static func adam(_ context: OpaquePointer, _ p: [UnsafePointer<kiln_tensor>], _ states: kiln_state_options, step: Int)
    -> kiln_status
  {
    var o = kiln_adam_defaults()
    (o.lr, o.step, o.decoupled, o.weight_decay, o.states) = (0.01, Int64(step), 1, 0.1, states)
    return kiln_adam(context, p[0], p[1], p[2], p[3], &o)
  }

  static var contexts: [TestContext] {
    [TestContext(device: KILN_DEVICE_REF)] + TestContext.availableISAs.map { TestContext(isa: $0, threads: 2) }
  }

  /// bitsandbytes' and torchao's maps: see Tests/Golden/optimizers.
  static let maps: (signed: [Float], unsigned: [Float]) = {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Golden/optimizers/dynamic_maps.json")
    let maps = (try? JSONDecoder().decode([String: [Float]].self, from: Data(contentsOf: url))) ?? [:]
    return (maps["signed"] ?? [], maps["unsigned"] ?? [])
  }()

  /// With momentum 1/2 and a gradient of 0 a code c becomes the weight -map[c]: the map as the kernels decode it.
  @Test func theMapBitForBit() {
    #expect(Self.maps.signed.count == 256 && Self.maps.unsigned.count == 256)
    for context in Self.contexts {
      let run = Run(256, KILN_U8)
      run.w = .init(repeating: 0, count: 256)
      run.g = run.w
      run.codes[0] = (0...255).map { UInt8($0) }
      run.scales[0] = [1]
      let status = run.step(context) { handle, p, states in
        var o = kiln_sgd_defaults()
        (o.lr, o.momentum, o.states) = (-2, 0.5, states)
        return kiln_sgd(handle, p[0], p[1], p[3], &o)
      }
      #expect(status == KILN_OK, "\(context.lastError)")
      #expect(run.w == Self.maps.signed)
      #expect(run.codes[0] == (0...255).map { UInt8($0) }, "a number of the map has its own code")
    }
  }

  /// From a state of 0 the momentum is the gradient itself: what the codes say of it.
  @Test func codesAreTheNearest() {
    var values: [Float] = []
    for (a, b) in zip(Self.maps.signed, Self.maps.signed.dropFirst()) {
      let middle = (a + b) / 2
      values += [a, middle.nextDown, middle, middle.nextUp]
    }
    values += pseudoRandom(3000, seed: 5).map { Float($0 * $0 * $0 * $0 * $0) }
    for start in stride(from: 0, to: values.count, by: 255) { values.insert(1, at: start) }
    for context in Self.contexts {
      let run = Run(values.count, KILN_U8)
      run.g = values
      let status = run.step(context) { handle, p, states in
        var o = kiln_sgd_defaults()
        (o.lr, o.momentum, o.states) = (0, 0.5, states)
        return kiln_sgd(handle, p[0], p[1], p[3], &o)
      }
      #expect(status == KILN_OK, "\(context.lastError)")
      for (index, value) in values.enumerated() {
        let scale = Double(run.scales[0][index / 256])
        let target = Double(value) / scale
        let error = abs(Double(Self.maps.signed[Int(run.codes[0][index])]) - target)
        let least = Self.maps.signed.map { abs(Double($0) - target) }.min() ?? 0
        guard error > least * (1 + 1e-5) + 1e-12 else { continue }
        Issue.record("\(value) has code \(run.codes[0][index]), off by \(error), not \(least)")
        return
      }
    }
  }

  @Test func unsignedMap() {
    for context in Self.contexts {
      let run = Run(256, KILN_U8)
      run.g = Self.maps.unsigned.map { ($0 * 1000).squareRoot() }
      let status = run.step(context) { Self.adam($0, $1, $2, step: 1) }
      #expect(status == KILN_OK, "\(context.lastError)")
      #expect(run.codes[1] == (0...255).map { UInt8($0) })
    }
  }

  /// The control: squares below half a 255th of their block's largest are gone.
  @Test func linearSquares() {
    for context in Self.contexts {
      let run = Run(256, KILN_U8)
      run.g = (0...255).map { Float($0 * 1000).squareRoot() }
      run.g[1] *= 0.7
      let status = run.step(context) { handle, p, states in
        var states = states
        states.linear = 1
        return Self.adam(handle, p, states, step: 1)
      }
      #expect(status == KILN_OK, "\(context.lastError)")
      #expect(run.codes[1] == [0, 0] + (2...255).map { UInt8($0) })
    }
  }

  /// A fault shows in its block, wherever it stands, and in no other.
  @Test(arguments: [Float.nan, .infinity], [256, 300, 511]) func whatIsNotFinite(_ fault: Float, at index: Int) {
    for context in Self.contexts {
      let run = Run(520, KILN_U8)
      run.g = .init(repeating: 1, count: 520)
      run.g[index] = fault
      #expect(run.step(context) { Self.adam($0, $1, $2, step: 1) } == KILN_OK)
      for scales in run.scales { #expect(scales.map(\.isNaN) == [false, true, false]) }
    }
  }

  /// Every instruction set against the plain loops, over blocks that are not full and more than one span.
  @Test(arguments: [KILN_U8, KILN_BF16], [1, 67, 256, 300, 20_000]) func narrowStates(kind: kiln_dtype, count: Int) {
    for stochastic in kind == KILN_BF16 ? [nil, 7] as [UInt64?] : [nil] {
      var expected: [Float]?
      for context in Self.contexts {
        let run = Run(count, kind)
        for step in 1...3 {
          run.g = pseudoRandom(count, seed: UInt64(step) + 9).map { Float($0 * $0 * $0) }
          let status = run.step(context, stochastic: stochastic) { Self.adam($0, $1, $2, step: step) }
          #expect(status == KILN_OK, "\(context.lastError)")
        }
        guard let plain = expected else {
          expected = run.w
          continue
        }
        // A multiply-add may bring a state across the border of two codes, which shows in few weights.
        let differ = zip(run.w, plain).filter { abs($0 - $1) > 1e-6 }
        #expect(differ.count <= max(1, count / 200), "\(differ.count) of \(count)")
        #expect(differ.allSatisfy { abs($0.0 - $0.1) < 1e-2 })
      }
    }
  }

  @Test func anyNumberOfThreadsGivesTheSameBits() {
    for kind in [KILN_U8, KILN_BF16] {
      var first: Run?
      for threads in [1, 2, 3, 7] {
        let run = Run(70_000, kind)
        let context = TestContext(threads: threads)
        for step in 1...2 {
          #expect(run.step(context, stochastic: 5) { Self.adam($0, $1, $2, step: step) } == KILN_OK)
        }
        let start = first ?? run
        first = start
        #expect(run.w == start.w && run.codes == start.codes && run.halves == start.halves)
        #expect(run.scales == start.scales)
      }
    }
  }

  /// The mean over many elements is that of fp32, where rounding to the nearest loses it.
  @Test func stochasticRoundingKeepsTheMean() {
    let count = 65_536
    for context in Self.contexts.dropFirst() {
      let run = Run(count, KILN_BF16)
      run.g = .init(repeating: 1.001, count: count)
      let status = run.step(context, stochastic: 11) { handle, p, states in
        var o = kiln_sgd_defaults()
        (o.lr, o.momentum, o.states) = (0, 0.5, states)
        return kiln_sgd(handle, p[0], p[1], p[3], &o)
      }
      #expect(status == KILN_OK)
      let kept = run.halves[0].map { Double(Float(bitPattern: UInt32($0) << 16)) }
      #expect(Set(kept) == [1, 1.0078125])
      #expect(abs(kept.reduce(0, +) / Double(count) - 1.001) < 5e-5)
    }
  }

  @Test func refusesOtherPairs() {
    let context = TestContext()
    let run = Run(300, KILN_U8)
    let lamb = run.step(context) { handle, p, _ in kiln_lamb(handle, p[0], p[1], p[2], p[3], nil) }
    #expect(lamb == KILN_ERR_DTYPE)
    #expect(context.lastError == "lamb: m is u8, but this method keeps it as f32 or bf16")
    let free = run.step(context) { handle, p, _ in kiln_schedule_free(handle, p[0], p[1], p[2], p[3], nil) }
    #expect(free == KILN_ERR_DTYPE)
    #expect(context.lastError == "schedule_free: v is u8, but this method keeps it as f32")
    let bare = run.step(context) { handle, p, _ in
      var o = kiln_lion_defaults()
      o.lr = 1
      return kiln_lion(handle, p[0], p[1], p[3], &o)
    }
    #expect(bare == KILN_ERR_NULL)
    #expect(context.lastError == "lion: m is u8, but the scales of its blocks are NULL")
    let swapped = run.step(context) { handle, p, states in
      var o = kiln_lion_defaults()
      o.states = states
      o.states.scales.0 = p[0]
      return kiln_lion(handle, p[0], p[1], p[3], &o)
    }
    #expect(swapped == KILN_ERR_SHAPE)
  }
}
