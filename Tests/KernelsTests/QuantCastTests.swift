import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Casts to 8 and 16 bits, and the scales of 8-bit floats.
extension QuantTests {
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
        context,
        context.calling(views) { kiln_cast(context.handle, $0[0], $0[1], scale == nil ? nil : $0[2], &options) })
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
    let got = Self.same("cast", onOpenCL: true) { Self.cast(x, type, $0) }
    let wrong = x.indices.filter { got[$0] != Self.code(x[$0], type, magnitudes) }
    #expect(wrong.isEmpty, "\(wrong.count) are wrong, such as \(x[wrong.first ?? 0])")
  }

  @Test(arguments: narrow) func castsStochastically(type: Narrow) {
    let magnitudes = type.magnitudes
    let x = Self.probes(type) + Self.values(3000, seed: 9, spread: 12)
    let got = Self.same("cast", onOpenCL: true) { Self.cast(x, type, rounding: Self.options(), $0) }
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
    let got = Self.same("widen", onOpenCL: true) { context in
      let y = floats([Float](repeating: -1, count: 2 * sign))
      let factor = floats([scale])
      let narrow = halves(2 * sign)
      let byte = Elements((0..<2 * sign).map { UInt8(truncatingIfNeeded: $0) }, guardedBy: 0)
      let half = Elements((0..<2 * sign).map { UInt16(truncatingIfNeeded: $0) }, guardedBy: 0)
      let x = type.bytes == 1 ? byte.view(type.dtype) : half.view(type.dtype)
      let views = [y.view(KILN_F32), x, factor.view(KILN_F32), narrow.view(KILN_BF16)]
      Self.check(context, context.calling(views) { kiln_cast(context.handle, $0[0], $0[1], $0[2], nil) })
      if String(cString: kiln_context_tile(context.handle)).isEmpty {
        Self.check(context, withPointers(views) { kiln_copy(context.handle, $0[3], $0[1]) })
      }
      #expect(y.isIntact && narrow.isIntact)
      return bits(y.values)
    }
    #expect(got == bits(truth))
  }

  @Test func castsWithAScaleAndFromOtherTypes() {
    let x = Self.values(700, seed: 2, spread: 6).map { widened(upper($0)) }
    for type in Self.narrow.prefix(3) {
      let truth = x.map { Self.code($0 * 3.7, type, type.magnitudes) }
      #expect(Self.same("scaled", onOpenCL: true) { Self.cast(x, type, scale: 3.7, $0) } == truth)
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
          Self.check(context, context.calling([y, source]) { kiln_cast(context.handle, $0[0], $0[1], nil, &options) })
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
      context,
      context.calling([out.view(KILN_F32), source.view(KILN_F32)]) { kiln_absmax(context.handle, $0[0], $0[1]) })
    return out.values[0]
  }

  @Test func absmaxFindsEveryFault() {
    for count in laneLengths + [40_000] {
      var x = Self.values(count, seed: 4)
      x[count / 2] = -3.5
      #expect(Self.same("absmax", onOpenCL: true) { Self.absmax(x, $0) } == 3.5)
      x[count - 1] = -.infinity
      #expect(Self.same("absmax", onOpenCL: true) { Self.absmax(x, $0) } == .infinity)
      for place in [0, count / 3, count - 1] {
        var bad = x
        bad[place] = .nan
        #expect(Self.same("absmax", onOpenCL: true) { Self.absmax(bad, $0).isNaN })
      }
    }
    #expect(Self.same("absmax", onOpenCL: true) { Self.absmax([], $0) } == 0)
  }

  @Test func float8ScalesKeepWhatTheyHaveOnFaults() {
    let context = TestContext()
    func scale(_ amax: [Float], _ dtype: kiln_dtype = KILN_F8_E4M3, margin: Int32 = 0) -> [Float] {
      let s = floats([2])
      let inverse = floats([0.5])
      let history = floats(amax)
      let views = [s.view(KILN_F32, []), inverse.view(KILN_F32, [1]), history.view(KILN_F32)]
      Self.check(
        context, context.calling(views) { kiln_float8_scale(context.handle, $0[0], $0[1], $0[2], dtype, margin) })
      return s.values + inverse.values
    }
    #expect(scale([7]) == [64, 1 / 64])
    #expect(scale([1, 14, 0.5]) == [32, 1 / 32])
    #expect(scale([7], margin: 2) == [16, 1 / 16])
    #expect(scale([7], KILN_F8_E5M2) == [8192, 1 / 8192])
    for fault in [[0], [.nan, 1], [1, .infinity], [0x1p-149], []] as [[Float]] { #expect(scale(fault) == [2, 0.5]) }
    let t = floats([1])
    func fails(_ dtype: kiln_dtype, _ margin: Int32) -> kiln_status {
      context.calling([t.view(KILN_F32)]) { kiln_float8_scale(context.handle, $0[0], $0[0], $0[0], dtype, margin) }
    }
    #expect(fails(KILN_F16, 0) == KILN_ERR_DTYPE && context.lastError.contains("dtype is f16, not f8_e4m3 or f8_e5m2"))
    #expect(fails(KILN_F8_E4M3, -1) == KILN_ERR_OPTION && context.lastError.contains("margin is -1, not in 0...64"))
  }
}
