import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Elements of any type between guards, one past the alignment.
final class Elements<T: BitwiseCopyable & Equatable> {
  let count: Int
  private let memory: UnsafeMutablePointer<T>
  private let guardValue: T
  private static var margin: Int { 65 }

  init(_ values: [T], guardedBy guardValue: T) {
    count = values.count
    self.guardValue = guardValue
    memory = .allocate(capacity: count + 2 * Self.margin)
    memory.initialize(repeating: guardValue, count: count + 2 * Self.margin)
    for (index, value) in values.enumerated() { memory[Self.margin + index] = value }
  }

  deinit { memory.deallocate() }

  func view(_ dtype: kiln_dtype, _ shape: [Int]? = nil) -> kiln_tensor {
    let shape = (shape ?? [count]).map(Int64.init)
    return kiln_tensor_dense(memory + Self.margin, dtype, Int32(shape.count), shape)
  }

  var values: [T] { (0..<count).map { memory[Self.margin + $0] } }

  var isIntact: Bool {
    (0..<Self.margin).allSatisfy { memory[$0] == guardValue && memory[Self.margin + count + $0] == guardValue }
  }
}

func floats(_ values: [Float]) -> Elements<Float> { Elements(values, guardedBy: -7e30) }
func bytes(_ count: Int) -> Elements<UInt8> { Elements([UInt8](repeating: 0xA5, count: count), guardedBy: 0x5A) }
func halves(_ count: Int) -> Elements<UInt16> { Elements([UInt16](repeating: 0xA5A5, count: count), guardedBy: 0x5A5A) }

/// The bits of numbers, all NaNs being one.
func bits(_ values: [Float]) -> [UInt32] { values.map { $0.isNaN ? 0x7FC0_0000 : $0.bitPattern } }

func upper(_ x: Float) -> UInt16 { UInt16(x.bitPattern >> 16) }
func widened(_ half: UInt16) -> Float { Float(bitPattern: UInt32(half) << 16) }

/// Casts, scales and block formats, on every instruction set, against definitions computed here.
struct QuantTests {
  /// New ones, since tests run beside each other: the reference, each instruction set, and the best with more threads.
  static var contexts: [TestContext] {
    [TestContext(device: KILN_DEVICE_REF)] + TestContext.availableISAs.map { TestContext(isa: $0) }
      + [TestContext(threads: 2), TestContext(threads: 3), TestContext(threads: 7)]
  }

  static func options(seed: UInt64 = 5, step: UInt64 = 0) -> kiln_rounding_options {
    var options = kiln_rounding_defaults()
    options.rounding = KILN_ROUND_STOCHASTIC
    options.seed = seed
    options.step = step
    options.site = 3
    return options
  }

  /// The random word of an element.
  static func word(_ element: Int, seed: UInt32 = 5) -> UInt32 {
    var words: [UInt32] = [0, 0, 0, 0]
    kiln_philox4x32(&words, [UInt32(element / 4), 3, 0, 0], [seed, 0])
    return words[element % 4]
  }

  static func values(_ count: Int, seed: UInt64, spread: Double = 0) -> [Float] {
    zip(pseudoRandom(count, seed: seed), pseudoRandom(count, seed: seed + 100)).map { Float($0 * exp(spread * $1)) }
  }

  /// What `run` leaves on each context must be the same bits; the first one's.
  static func same<R: Equatable>(_ name: String, _ run: (TestContext) -> R) -> R {
    let contexts = contexts
    let reference = run(contexts[0])
    for (index, context) in contexts.enumerated().dropFirst() {
      let equal = run(context) == reference
      #expect(equal, "\(name): not the reference's bits in context \(index)")
    }
    return reference
  }

  static func check(_ context: TestContext, _ status: kiln_status) {
    #expect(status == KILN_OK, "\(context.lastError)")
  }

  // MARK: casts

  struct Narrow: CustomTestStringConvertible, Sendable {
    var dtype: kiln_dtype
    var mantissa: Int
    var bias: Int
    var limit: Int  // the code of the largest number
    var hasInfinity: Bool
    var testDescription: String { String(cString: kiln_dtype_name(dtype)) }

    /// The numbers of all codes from 0 up to the limit.
    var magnitudes: [Double] {
      (0...limit).map { code in
        let exponent = code >> mantissa
        let fraction = Double(code & (1 << mantissa - 1)) * exp2(Double(-mantissa))
        return exponent == 0 ? fraction * exp2(Double(1 - bias)) : (1 + fraction) * exp2(Double(exponent - bias))
      }
    }

    var bytes: Int { kiln_dtype_size(dtype) }
    var nan: Int { (1 << (8 * bytes - 1)) - 1 }
    var infinity: Int { hasInfinity ? limit + 1 : nan }
  }

  static let narrow = [
    Narrow(dtype: KILN_F8_E4M3, mantissa: 3, bias: 7, limit: 0x7E, hasInfinity: false),
    Narrow(dtype: KILN_F8_E5M2, mantissa: 2, bias: 15, limit: 0x7B, hasInfinity: true),
    Narrow(dtype: KILN_F16, mantissa: 10, bias: 15, limit: 0x7BFF, hasInfinity: true),
    Narrow(dtype: KILN_BF16, mantissa: 7, bias: 127, limit: 0x7F7F, hasInfinity: true),
  ]

  /// The codes of x, all NaNs being one.
  static func cast(
    _ x: [Float], _ type: Narrow, scale: Float? = nil, rounding options: kiln_rounding_options? = nil,
    _ context: TestContext
  ) -> [Int] {
    let source = floats(x)
    let factor = floats([scale ?? 1])
    var options = options ?? kiln_rounding_defaults()
    func run(_ y: kiln_tensor) {
      let views = [y, source.view(KILN_F32), factor.view(KILN_F32)]
      check(
        context, withPointers(views) { kiln_cast(context.handle, $0[0], $0[1], scale == nil ? nil : $0[2], &options) })
    }
    var codes: [Int]
    if type.bytes == 1 {
      let y = bytes(x.count)
      run(y.view(type.dtype))
      #expect(y.isIntact)
      codes = y.values.map(Int.init)
    } else {
      let y = halves(x.count)
      run(y.view(type.dtype))
      #expect(y.isIntact)
      codes = y.values.map(Int.init)
    }
    let sign = 1 << (8 * type.bytes - 1)
    for (index, code) in codes.enumerated() where code & (sign - 1) > type.infinity {
      codes[index] = code & sign | type.nan
    }
    return codes
  }

  /// The place of the largest magnitude that is not above x.
  static func below(_ x: Double, _ magnitudes: [Double]) -> Int {
    var low = 0
    var high = magnitudes.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if magnitudes[middle] <= x { low = middle } else { high = middle }
    }
    return low
  }

  /// The code of x by the definition: of the two neighbours the nearer one, or the even one; or with a random word.
  static func code(_ x: Float, _ type: Narrow, _ magnitudes: [Double], word: UInt32? = nil) -> Int {
    let sign = x.sign == .minus ? 1 << (8 * type.bytes - 1) : 0
    if x.isNaN { return sign | type.nan }
    let a = Double(abs(x))
    if a.isInfinite { return sign | type.infinity }
    let saturates = type.bytes == 1
    let low = below(a, magnitudes)
    let next = low == type.limit ? exp2(log2(magnitudes[low]).rounded(.up)) : magnitudes[low + 1]
    let beyond = saturates ? type.limit : type.infinity
    if a >= next { return sign | beyond }
    var part = (a - magnitudes[low]) / (next - magnitudes[low])
    var up = part > 0.5 || (part == 0.5 && low % 2 == 1)
    if let word {
      let bits = 23 - type.mantissa
      let unit = exp2(Double(bits))
      if a < exp2(Double(1 - type.bias)) { part = (part * unit).rounded(.toNearestOrEven) / unit }
      up = part + Double(word >> UInt32(32 - bits)) / unit >= 1
    }
    return sign | (up ? (low == type.limit ? beyond : low + 1) : low)
  }

  /// Every number of the type, every midpoint, their neighbours in fp32, with both signs, and what lies beyond.
  static func probes(_ type: Narrow) -> [Float] {
    var probes: [Float] = [0, 0x1p-149, 0x1p-133, 1e-30, 447, 449, 465, 481, 1e6, 61440, 65519, 65520, 65536, 3e38]
    probes += [.greatestFiniteMagnitude, .infinity, .nan]
    let magnitudes = type.magnitudes
    for step in type.bytes == 1 ? Array(0..<type.limit) : Array(stride(from: 0, to: type.limit, by: 13)) {
      for value in [magnitudes[step], (magnitudes[step] + magnitudes[step + 1]) / 2] {
        let x = Float(value)
        probes += [x.nextDown, x, x.nextUp].map(abs)
      }
    }
    return probes + probes.map { -$0 }
  }

  @Test(arguments: narrow) func castsToTheNearest(type: Narrow) {
    let magnitudes = type.magnitudes
    let all = (0...UInt16.max).map { widened($0) } + (0...UInt16.max).map { Float(Float16(bitPattern: $0)) }
    let x = Self.probes(type) + all
    let got = Self.same("cast") { Self.cast(x, type, $0) }
    let wrong = x.indices.filter { got[$0] != Self.code(x[$0], type, magnitudes) }
    #expect(wrong.isEmpty, "\(wrong.count) are wrong, such as \(x[wrong.first ?? 0])")
  }

  @Test(arguments: narrow) func castsStochastically(type: Narrow) {
    let magnitudes = type.magnitudes
    let x = Self.probes(type) + Self.values(3000, seed: 9, spread: 12)
    let got = Self.same("cast") { Self.cast(x, type, rounding: Self.options(), $0) }
    let wrong = x.indices.filter { got[$0] != Self.code(x[$0], type, magnitudes, word: Self.word($0)) }
    #expect(wrong.isEmpty, "\(wrong.count) are wrong, such as \(x[wrong.first ?? 0])")
    // The mean is the number itself, within 5 standard deviations of it.
    let count = 20_000
    for value in [0.3, 1.01, -5.2, Float(magnitudes[1]) * 0.7] {
      let codes = Self.cast(
        [Float](repeating: value, count: count), type, rounding: Self.options(step: 8), TestContext())
      let sign = 1 << (8 * type.bytes - 1)
      let mean = codes.reduce(0.0) { $0 + magnitudes[$1 & (sign - 1)] * ($1 >= sign ? -1 : 1) } / Double(count)
      let low = Self.below(Double(abs(value)), magnitudes)
      let step = magnitudes[low + 1] - magnitudes[low]
      #expect(abs(mean - Double(value)) < 5 * step * 0.5 / Double(count).squareRoot())
    }
  }

  @Test(arguments: narrow) func widensAndScales(type: Narrow) {
    let magnitudes = type.magnitudes
    let sign = 1 << (8 * type.bytes - 1)
    let scale: Float = 0.7
    let truth = (0..<2 * sign).map { code in
      let magnitude = code & (sign - 1)
      let isInfinite = type.hasInfinity && magnitude == type.infinity
      let value: Float = magnitude <= type.limit ? Float(magnitudes[magnitude]) : isInfinite ? .infinity : .nan
      return (code >= sign ? -value : value) * scale
    }
    let got = Self.same("widen") { context in
      let y = floats([Float](repeating: -1, count: 2 * sign))
      let factor = floats([scale])
      let narrow = halves(2 * sign)
      let byte = Elements((0..<2 * sign).map { UInt8(truncatingIfNeeded: $0) }, guardedBy: 0)
      let half = Elements((0..<2 * sign).map { UInt16(truncatingIfNeeded: $0) }, guardedBy: 0)
      let x = type.bytes == 1 ? byte.view(type.dtype) : half.view(type.dtype)
      let views = [y.view(KILN_F32), x, factor.view(KILN_F32), narrow.view(KILN_BF16)]
      Self.check(context, withPointers(views) { kiln_cast(context.handle, $0[0], $0[1], $0[2], nil) })
      Self.check(context, withPointers(views) { kiln_copy(context.handle, $0[3], $0[1]) })
      #expect(y.isIntact && narrow.isIntact)
      return bits(y.values)
    }
    #expect(got == bits(truth))
  }

  @Test func castsWithAScaleAndFromOtherTypes() {
    let x = Self.values(700, seed: 2, spread: 6).map { widened(upper($0)) }
    for type in Self.narrow.prefix(3) {
      let truth = x.map { Self.code($0 * 3.7, type, type.magnitudes) }
      #expect(Self.same("scaled") { Self.cast(x, type, scale: 3.7, $0) } == truth)
      for (dtype, isStochastic) in [(KILN_BF16, false), (KILN_F64, false), (KILN_BF16, true)] {
        let expected = Self.cast(
          x, type, rounding: isStochastic ? Self.options() : nil, TestContext(device: KILN_DEVICE_REF))
        let got = Self.same("from \(dtype)") { context in
          let half = Elements(x.map(upper), guardedBy: 0)
          let double = Elements(x.map(Double.init), guardedBy: 0)
          let byte = bytes(x.count)
          let wide = halves(x.count)
          let source = dtype == KILN_BF16 ? half.view(KILN_BF16, [7, 100]) : double.view(KILN_F64, [7, 100])
          let y = type.bytes == 1 ? byte.view(type.dtype, [7, 100]) : wide.view(type.dtype, [7, 100])
          var options = isStochastic ? Self.options() : kiln_rounding_defaults()
          Self.check(context, withPointers([y, source]) { kiln_cast(context.handle, $0[0], $0[1], nil, &options) })
          return type.bytes == 1 ? byte.values.map(Int.init) : wide.values.map(Int.init)
        }
        #expect(got == expected)
      }
    }
  }

  @Test func copyKnowsTheTypesOfEightBits() {
    let golden: [Float] = [1, 0.0156, 0.3, -17, 500, 0.001]
    let codes = CopyTests.convert(golden, KILN_F32, KILN_F8_E4M3, as: UInt8.self, zero: 0)
    #expect(codes == [0x38, 0x08, 0x2A, 0xD8, 0x7E, 0x01])
    let near: [Double] = [1.0625 + 0x1p-40, 1.0625, 60000, -1e300, 0x1p-17]
    #expect(CopyTests.convert(near, KILN_F64, KILN_F8_E4M3, as: UInt8.self, zero: 0) == [0x39, 0x38, 0x7E, 0xFE, 0])
    #expect(CopyTests.convert(near, KILN_F64, KILN_F8_E5M2, as: UInt8.self, zero: 0) == [0x3C, 0x3C, 0x7B, 0xFB, 0])
    for type in [KILN_F8_E4M3, KILN_F8_E5M2] {
      for (shape, sy, sx) in CopyTests.layouts.prefix(5) {
        for other in [KILN_F32, KILN_F16] {
          let count = shape.reduce(1, *)
          let at = CopyTests.offsets(shape, sx)
          var x = [UInt8](repeating: 0, count: (at.max() ?? 0) + 1)
          for (index, place) in at.enumerated() { x[place] = UInt8(index % 0x70) }
          let wide = Elements([UInt32](repeating: 0, count: CopyTests.offsets(shape, sy).max()! + 1), guardedBy: 1)
          var back = [UInt8](repeating: 0xFF, count: count)
          let context = TestContext()
          x.withUnsafeMutableBytes { source in
            back.withUnsafeMutableBytes { target in
              var middle = CopyTests.view(source.baseAddress!, other, shape, strides: sy)
              middle.data = wide.view(KILN_F32).data
              let narrow = CopyTests.view(source.baseAddress!, type, shape, strides: sx)
              let dense = kiln_tensor_dense(target.baseAddress!, type, Int32(shape.count), shape.map(Int64.init))
              Self.check(context, withPointers([middle, narrow]) { kiln_copy(context.handle, $0[0], $0[1]) })
              Self.check(context, withPointers([dense, middle]) { kiln_copy(context.handle, $0[0], $0[1]) })
            }
          }
          #expect(back == (0..<count).map { UInt8($0 % 0x70) } && wide.isIntact)
        }
      }
    }
  }

  // MARK: scales

  static func absmax(_ x: [Float], _ context: TestContext) -> Float {
    let source = floats(x)
    let out = floats([-1])
    check(
      context, withPointers([out.view(KILN_F32), source.view(KILN_F32)]) { kiln_absmax(context.handle, $0[0], $0[1]) })
    return out.values[0]
  }

  @Test func absmaxFindsEveryFault() {
    for count in laneLengths + [40_000] {
      var x = Self.values(count, seed: 4)
      x[count / 2] = -3.5
      #expect(Self.same("absmax") { Self.absmax(x, $0) } == 3.5)
      x[count - 1] = -.infinity
      #expect(Self.same("absmax") { Self.absmax(x, $0) } == .infinity)
      for place in [0, count / 3, count - 1] {
        var bad = x
        bad[place] = .nan
        #expect(Self.same("absmax") { Self.absmax(bad, $0).isNaN })
      }
    }
    #expect(Self.same("absmax") { Self.absmax([], $0) } == 0)
  }

  @Test func float8ScalesKeepWhatTheyHaveOnFaults() {
    let context = TestContext()
    func scale(_ amax: [Float], _ dtype: kiln_dtype = KILN_F8_E4M3, margin: Int32 = 0) -> [Float] {
      let s = floats([2])
      let inverse = floats([0.5])
      let history = floats(amax)
      let views = [s.view(KILN_F32, []), inverse.view(KILN_F32, [1]), history.view(KILN_F32)]
      Self.check(context, withPointers(views) { kiln_float8_scale(context.handle, $0[0], $0[1], $0[2], dtype, margin) })
      return s.values + inverse.values
    }
    #expect(scale([7]) == [64, 1 / 64])
    #expect(scale([1, 14, 0.5]) == [32, 1 / 32])
    #expect(scale([7], margin: 2) == [16, 1 / 16])
    #expect(scale([7], KILN_F8_E5M2) == [8192, 1 / 8192])
    for fault in [[0], [.nan, 1], [1, .infinity], [0x1p-149], []] as [[Float]] { #expect(scale(fault) == [2, 0.5]) }
    let t = floats([1])
    func fails(_ dtype: kiln_dtype, _ margin: Int32) -> kiln_status {
      withPointers([t.view(KILN_F32)]) { kiln_float8_scale(context.handle, $0[0], $0[0], $0[0], dtype, margin) }
    }
    #expect(fails(KILN_F16, 0) == KILN_ERR_DTYPE && context.lastError.contains("dtype is f16, not f8_e4m3 or f8_e5m2"))
    #expect(fails(KILN_F8_E4M3, -1) == KILN_ERR_OPTION && context.lastError.contains("margin is -1, not in 0...64"))
  }

  // MARK: int8

  struct Int8Result: Equatable {
    var q: [Int8]
    var scales: [UInt32]
    var y: [UInt32]
  }

  static func int8(
    _ x: [Float], _ shape: [Int], _ scaleShape: [Int], isNarrow: Bool = false,
    rounding options: kiln_rounding_options? = nil,
    _ context: TestContext
  ) -> Int8Result {
    let wide = floats(x)
    let half = Elements(x.map(upper), guardedBy: 0x5A5A)
    let q = Elements([Int8](repeating: 99, count: x.count), guardedBy: 77)
    let scales = floats([Float](repeating: -1, count: scaleShape.reduce(1, *)))
    let y = floats([Float](repeating: -1, count: x.count))
    let source = isNarrow ? half.view(KILN_BF16, shape) : wide.view(KILN_F32, shape)
    let views = [q.view(KILN_I8, shape), scales.view(KILN_F32, scaleShape), source, y.view(KILN_F32, shape)]
    var options = options ?? kiln_rounding_defaults()
    check(context, withPointers(views) { kiln_quantize_int8(context.handle, $0[0], $0[1], $0[2], &options) })
    check(context, withPointers(views) { kiln_dequantize_int8(context.handle, $0[3], $0[0], $0[1]) })
    #expect(q.isIntact && scales.isIntact && y.isIntact)
    return Int8Result(q: q.values, scales: bits(scales.values), y: bits(y.values))
  }

  /// By the definition; `first` of each tile is one that has the scale.
  static func int8Truth(_ x: [Float], _ shape: [Int], _ tiles: [Int], isStochastic: Bool) -> Int8Result {
    let (rows, columns) = (shape[0], shape[1])
    let height = rows / tiles[0]
    let width = columns / tiles[1]
    var scales = [Float](repeating: 0, count: tiles[0] * tiles[1])
    func tile(_ index: Int) -> Int { index / columns / height * tiles[1] + index % columns / width }
    for index in x.indices { scales[tile(index)] = max(scales[tile(index)], abs(x[index])) }
    scales = scales.map { $0 / 127 }
    let q = x.indices.map { index in
      let scale = scales[tile(index)]
      let v = scale > 0 ? min(max(x[index] / scale, -127), 127) : 0
      guard isStochastic else { return Int8(v.rounded(.toNearestOrEven)) }
      let low = v.rounded(.down)
      return Int8(low) + (Float(word(index) >> 8) * 0x1p-24 < v - low ? 1 : 0)
    }
    return Int8Result(q: q, scales: bits(scales), y: bits(x.indices.map { Float(q[$0]) * scales[tile($0)] }))
  }

  static let tilings: [(shape: [Int], tiles: [Int])] = [
    ([1, 1], [1, 1]), ([3, 17], [3, 1]), ([3, 17], [1, 17]), ([3, 17], [1, 1]), ([40, 1030], [40, 1]),
    ([130, 67], [1, 67]), ([130, 67], [1, 1]), ([64, 96], [2, 3]), ([64, 2080], [2, 65]), ([6, 1200], [6, 3]),
    ([260, 300], [2, 300]), ([200, 256], [1, 8]), ([9, 20_000], [9, 1]), ([300, 1100], [1, 1100]),
  ]

  @Test(arguments: 0..<tilings.count) func int8ByTiles(index: Int) {
    let (shape, tiles) = Self.tilings[index]
    let x = Self.values(shape[0] * shape[1], seed: 7, spread: 2).map { widened(upper($0)) }
    for (isNarrow, isStochastic) in [(false, false), (false, true), (true, false), (true, true)] {
      let got = Self.same("int8 \(shape) \(tiles)") {
        Self.int8(x, shape, tiles, isNarrow: isNarrow, rounding: isStochastic ? Self.options() : nil, $0)
      }
      #expect(got == Self.int8Truth(x, shape, tiles, isStochastic: isStochastic))
    }
  }

  @Test func int8OfZerosFaultsAndTinyNumbers() {
    var x = Self.values(5 * 40, seed: 3)
    for column in 0..<40 {
      x[column] = 0
      x[160 + column] = column % 2 == 0 ? 0x1p-146 : -0x1p-148
    }
    x[43] = .nan
    x[85] = -.infinity
    let got = Self.same("int8") { Self.int8(x, [5, 40], [5, 1], $0) }
    let scales = got.scales.map { Float(bitPattern: $0) }
    #expect(scales[0] == 0 && scales[1].isNaN && scales[2].isNaN && scales[3] > 0 && scales[4] == 0)
    #expect(got.q.prefix(120).allSatisfy { $0 == 0 } && got.q.suffix(40).allSatisfy { $0 == 0 })
    #expect(got.y[40..<120].allSatisfy { Float(bitPattern: $0).isNaN })
    let columns = Self.same("int8") { Self.int8(x, [5, 40], [1, 40], $0) }
    #expect((0..<40).allSatisfy { Float(bitPattern: columns.scales[$0]).isNaN == ($0 == 3 || $0 == 5) })
    // The mean of stochastic rounding is the number itself.
    let count = 20_000
    var constant = [Float](repeating: 0.3 / 127, count: count)
    constant[0] = 1
    let rounded = Self.int8(constant, [1, count], [1, 1], rounding: Self.options(), TestContext()).q.dropFirst()
    let ups = rounded.filter { $0 == 1 }.count
    #expect(rounded.allSatisfy { $0 == 0 || $0 == 1 } && abs(Double(ups) / Double(count) - 0.3) < 0.017)
  }

  // MARK: dynamic maps

  struct DynamicResult: Equatable {
    var codes: [UInt8]
    var scales: [UInt32]
    var y: [UInt32]
  }

  static func dynamic(_ x: [Float], _ isSigned: Bool, _ context: TestContext) -> DynamicResult {
    let source = floats(x)
    let codes = bytes(x.count)
    let scales = floats([Float](repeating: -1, count: (x.count + 255) / 256))
    let y = floats([Float](repeating: -1, count: x.count))
    let views = [codes.view(KILN_U8), scales.view(KILN_F32), source.view(KILN_F32), y.view(KILN_F32)]
    check(context, withPointers(views) { kiln_quantize_dynamic(context.handle, $0[0], $0[1], $0[2], isSigned) })
    check(context, withPointers(views) { kiln_dequantize_dynamic(context.handle, $0[3], $0[0], $0[1], isSigned) })
    #expect(codes.isIntact && scales.isIntact && y.isIntact)
    return DynamicResult(codes: codes.values, scales: bits(scales.values), y: bits(y.values))
  }

  /// The numbers of a map, by decoding every code.
  static func map(_ isSigned: Bool) -> [Float] {
    let codes = Elements((0...255).map { UInt8($0) }, guardedBy: 0)
    let scale = floats([1])
    let y = floats([Float](repeating: -1, count: 256))
    let views = [y.view(KILN_F32), codes.view(KILN_U8), scale.view(KILN_F32)]
    let context = TestContext(device: KILN_DEVICE_REF)
    check(context, withPointers(views) { kiln_dequantize_dynamic(context.handle, $0[0], $0[1], $0[2], isSigned) })
    return y.values
  }

  @Test func dynamicMapsHaveTheirNumbers() {
    let signed: [(Int, Double)] = [
      (0, -0.99296875), (126, -5.5e-7), (127, 0), (128, 5.5e-7), (129, 3.25e-6), (130, 7.75e-6), (191, 0.10703125),
      (254, 0.99296875), (255, 1),
    ]
    let unsigned: [(Int, Double)] = [
      (0, 0), (1, 3.25e-7), (2, 7.75e-7), (3, 2.125e-6), (7, 1.5625e-5), (128, 0.110546875), (254, 0.996484375),
      (255, 1),
    ]
    for (isSigned, golden) in [(true, signed), (false, unsigned)] {
      let map = Self.map(isSigned)
      for (code, value) in golden { #expect(abs(Double(map[code]) - value) <= 1e-6 * abs(value)) }
      #expect(zip(map, map.dropFirst()).allSatisfy { $0 < $1 })
    }
  }

  @Test(arguments: [true, false]) func dynamicCodesAreNearest(isSigned: Bool) {
    let map = Self.map(isSigned).map(Double.init)
    for count in [1, 7, 255, 256, 257, 20_000] {
      let x = Self.values(count, seed: 6, spread: 14)
      let got = Self.same("dynamic \(count)") { Self.dynamic(x, isSigned, $0) }
      var wrong = 0
      for index in x.indices {
        let scale = Float(bitPattern: got.scales[index / 256])
        let v = Double(x[index] * (1 / scale))
        let nearest = map.map { abs($0 - v) }.min()!
        if abs(map[Int(got.codes[index])] - v) > nearest { wrong += 1 }
        if Float(map[Int(got.codes[index])]) * scale != Float(bitPattern: got.y[index]) { wrong += 1 }
      }
      #expect(wrong == 0)
    }
    var x = Self.values(1024, seed: 5)
    for index in 0..<256 {
      x[index] = 0
      x[256 + index] = 0x1p-133
    }
    x[700] = .nan
    x[800] = .infinity
    let got = Self.same("dynamic faults") { Self.dynamic(x, isSigned, $0) }
    #expect(got.scales[0] == 0 && got.scales[1] == 0 && got.y[..<512].allSatisfy { $0 == 0 })
    #expect(got.y[512...].allSatisfy { Float(bitPattern: $0).isNaN })
  }

  // MARK: activation groups

  struct GroupResult: Equatable {
    var codes: [UInt8]
    var scales: [UInt16]
    var y: [UInt32]
  }

  static func groups(_ x: [Float], bits width: Int, step: UInt64 = 0, _ context: TestContext) -> GroupResult {
    let count = (x.count + 255) / 256
    let source = floats(x)
    let codes = bytes(count * 32 * width)
    let scales = halves(count * 2)
    let y = floats([Float](repeating: -1, count: x.count))
    let views = [
      codes.view(KILN_U8, [count, 32 * width]), scales.view(KILN_BF16, [count, 2]), source.view(KILN_F32),
      y.view(KILN_F32),
    ]
    var options = options(step: step)
    let bits32 = Int32(width)
    check(context, withPointers(views) { kiln_quantize_groups(context.handle, $0[0], $0[1], $0[2], bits32, &options) })
    check(context, withPointers(views) { kiln_dequantize_groups(context.handle, $0[3], $0[0], $0[1], bits32) })
    #expect(codes.isIntact && scales.isIntact && y.isIntact)
    return GroupResult(codes: codes.values, scales: scales.values, y: bits(y.values))
  }

  @Test(arguments: [8, 4, 2]) func groupsRoundStochasticallyBetweenTheirEnds(width: Int) {
    for count in [1, 9, 255, 256, 300, 20_000] {
      let x = Self.values(count, seed: 11, spread: 3)
      let got = Self.same("groups \(count)") { Self.groups(x, bits: width, $0) }
      var wrong = 0
      for index in x.indices {
        let (group, place, span) = (index / 256, index % 256, 32 * width)
        let scale = widened(got.scales[2 * group])
        let low = widened(got.scales[2 * group + 1])
        let byte = Int(got.codes[group * span + place % span])
        let code = byte >> (place / span * width) & (1 << width - 1)
        let v = scale > 0 ? (x[index] - low) / scale : 0
        let floor = v.rounded(.down)
        let expected = min(Int(floor) + (Float(Self.word(index) >> 8) * 0x1p-24 < v - floor ? 1 : 0), 1 << width - 1)
        if x[index] < low || code != expected { wrong += 1 }
        if bits([Float(code) * scale + low])[0] != got.y[index] { wrong += 1 }
      }
      #expect(wrong == 0)
    }
  }

  /// Over many steps the mean of what is restored is the number, whose error is that of one step of the scale.
  @Test(arguments: [8, 4, 2]) func groupsAreUnbiased(width: Int) {
    let x = Self.values(256, seed: 12)
    let steps = 1000
    var sums = [Double](repeating: 0, count: 256)
    var scale = 0.0
    for step in 0..<steps {
      let got = Self.groups(x, bits: width, step: UInt64(step), TestContext())
      scale = Double(widened(got.scales[0]))
      for index in x.indices { sums[index] += Double(Float(bitPattern: got.y[index])) }
    }
    let errors = x.indices.map { sums[$0] / Double(steps) - Double(x[$0]) }
    let deviation = scale * 0.5 / Double(steps).squareRoot()
    #expect(errors.allSatisfy { abs($0) < 5 * deviation })
    #expect(abs(errors.reduce(0, +) / 256) < 5 * deviation / 16)
    #expect(errors.contains { $0 != 0 })
  }

  @Test(arguments: [8, 4, 2]) func groupsOfConstantsAndFaults(width: Int) {
    var x = [Float](repeating: -1.5, count: 256) + [Float](repeating: 0, count: 256) + Self.values(1024, seed: 13)
    x[256] = -0.0
    x[600] = .nan
    x[1000] = .infinity
    x[1100] = 3.4e38
    x[1101] = -3.4e38
    let got = Self.same("groups") { Self.groups(x, bits: width, $0) }
    let y = got.y.map { Float(bitPattern: $0) }
    #expect(y[..<256].allSatisfy { $0 == -1.5 } && y[256..<512].allSatisfy { $0 == 0 })
    #expect(y[512..<1280].allSatisfy { $0.isNaN } && y[1280...].allSatisfy { $0.isFinite })
  }

  // MARK: blocks of files

  static func gguf(
    _ x: [Float], _ shape: [Int], _ format: kiln_block_format, _ context: TestContext
  ) -> (blocks: [UInt8], y: [Float]) {
    let source = floats(x)
    let width = shape[1] / 32 * kiln_block_bytes(format)
    let blocks = bytes(shape[0] * width)
    let y = floats([Float](repeating: -1, count: x.count))
    let views = [blocks.view(KILN_U8, [shape[0], width]), source.view(KILN_F32, shape), y.view(KILN_F32, shape)]
    check(context, withPointers(views) { kiln_quantize_blocks(context.handle, $0[0], $0[1], format) })
    check(context, withPointers(views) { kiln_dequantize_blocks(context.handle, $0[2], $0[0], format) })
    #expect(blocks.isIntact && y.isIntact)
    return (blocks.values, y.values)
  }

  @Test func blocksOfARamp() {
    let x = (0..<32).map { (Float($0) - 15.5) / 10 }
    for context in Self.contexts {
      let q4 = Self.gguf(x, [1, 32], KILN_Q4_0, context).blocks
      let half: [UInt8] = [0x80, 0x91, 0x91, 0xA2, 0xA2, 0xB3, 0xB3, 0xC4]
      #expect(q4 == [0x33, 0x32] + half + [0xC4, 0xD5, 0xD5, 0xE6, 0xE6, 0xF7, 0xF7, 0xF8])
      let q8 = Self.gguf(x, [1, 32], KILN_Q8_0, context).blocks
      let below = [-127, -119, -111, -102, -94, -86, -78, -70, -61, -53, -45, -37, -29, -20, -12, -4]
      #expect(q8 == [0x40, 0x22] + (below + below.reversed().map { -$0 }).map { UInt8(bitPattern: Int8($0)) })
      let nf4 = Self.nf4(x.map { $0 / 1.55 }, isNested: false, context)
      let codes = stride(from: 0, to: 32, by: 4).map { nf4.codes[$0 / 2] >> 4 }
      #expect(codes == [0, 1, 2, 5, 7, 10, 13, 14])
    }
  }

  @Test(arguments: [KILN_Q4_0.rawValue, KILN_Q4_1.rawValue, KILN_Q8_0.rawValue]) func blocksWithFaults(raw: UInt32) {
    let format = kiln_block_format(rawValue: raw)
    var x = Self.values(4 * 64, seed: 8)
    for index in 0..<32 { x[index] = 0 }
    for index in 32..<64 { x[index] = 0x1p-140 }
    x[70] = .nan
    x[100] = .infinity
    let got = Self.same("blocks") { context in bits(Self.gguf(x, [4, 64], format, context).y) }
    let y = got.map { Float(bitPattern: $0) }
    #expect(y[..<64].allSatisfy { $0 == 0 } && y[64..<128].allSatisfy { $0.isNaN })
    let largest = x[128...].map(abs).max()!
    let step = format == KILN_Q8_0 ? largest / 127 : largest / 7
    #expect((128..<256).allSatisfy { abs(y[$0] - x[$0]) <= step })
  }

  struct NF4Result: Equatable {
    var codes: [UInt8]
    var absmax: [UInt32]
    var nested: [UInt8]
    var scales: [UInt32]
    var offset: [UInt32]
    var y: [UInt32]
  }

  static func nf4(_ x: [Float], isNested: Bool, _ context: TestContext) -> NF4Result {
    let blocks = (x.count + 63) / 64
    let source = floats(x)
    let codes = bytes((x.count + 1) / 2)
    let absmax = floats([Float](repeating: -1, count: blocks))
    let nested = bytes(blocks)
    let scales = floats([Float](repeating: -1, count: (blocks + 255) / 256))
    let offset = floats([-1])
    let y = floats([Float](repeating: -1, count: x.count))
    let views = [
      codes.view(KILN_U8), isNested ? nested.view(KILN_U8) : absmax.view(KILN_F32), scales.view(KILN_F32),
      offset.view(KILN_F32), source.view(KILN_F32), y.view(KILN_F32),
    ]
    withPointers(views) { p in
      let second = isNested ? (p[2], p[3]) : nil
      check(context, kiln_quantize_nf4(context.handle, p[0], p[1], second?.0, second?.1, p[4]))
      check(context, kiln_dequantize_nf4(context.handle, p[5], p[0], p[1], second?.0, second?.1))
    }
    #expect(codes.isIntact && absmax.isIntact && nested.isIntact && scales.isIntact && y.isIntact)
    return NF4Result(
      codes: codes.values, absmax: bits(absmax.values), nested: nested.values, scales: bits(scales.values),
      offset: bits(offset.values), y: bits(y.values))
  }

  @Test func nf4OfAnyLength() {
    for count in [1, 2, 63, 64, 65, 127, 20_001] {
      let x = Self.values(count, seed: 15, spread: 2)
      for isNested in [false, true] {
        let got = Self.same("nf4 \(count)") { Self.nf4(x, isNested: isNested, $0) }
        // Half of the widest gap between the numbers is 0.152; the scale is within 1 / 64 of itself or so when nested.
        let worst = x.indices.map { index in
          let block = index / 64 * 64..<min(index / 64 * 64 + 64, count)
          return abs(Float(bitPattern: got.y[index]) - x[index]) / x[block].map(abs).max()!
        }.max()!
        #expect(worst > 0 || count == 1)
        #expect(worst <= (isNested ? 0.35 : 0.1525), "\(count): \(worst)")
      }
    }
    var x = Self.values(192, seed: 16)
    for index in 0..<64 { x[index] = 0 }
    x[130] = .nan
    let got = Self.same("nf4 faults") { Self.nf4(x, isNested: false, $0) }
    #expect(got.codes[..<32].allSatisfy { $0 == 0x77 } && got.y[..<64].allSatisfy { $0 == 0 })
    #expect(got.y[128...].allSatisfy { Float(bitPattern: $0).isNaN })
    #expect(got.y[64..<128].allSatisfy { Float(bitPattern: $0).isFinite })
  }
}
