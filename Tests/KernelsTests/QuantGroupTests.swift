import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Activation groups of 8, 4 and 2 bits.
extension QuantTests {
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
    check(
      context, context.calling(views) { kiln_quantize_groups(context.handle, $0[0], $0[1], $0[2], bits32, &options) })
    check(context, context.calling(views) { kiln_dequantize_groups(context.handle, $0[3], $0[0], $0[1], bits32) })
    #expect(codes.isIntact && scales.isIntact && y.isIntact)
    return GroupResult(codes: codes.values, scales: scales.values, y: bits(y.values))
  }

  @Test(arguments: [8, 4, 2]) func groupsRoundStochasticallyBetweenTheirEnds(width: Int) {
    for count in [1, 9, 255, 256, 300, 20_000] {
      let x = Self.values(count, seed: 11, spread: 3)
      let got = Self.same("groups \(count)", onOpenCL: true) { Self.groups(x, bits: width, $0) }
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
    let got = Self.same("groups", onOpenCL: true) { Self.groups(x, bits: width, $0) }
    let y = got.y.map { Float(bitPattern: $0) }
    #expect(y[..<256].allSatisfy { $0 == -1.5 } && y[256..<512].allSatisfy { $0 == 0 })
    #expect(y[512..<1280].allSatisfy { $0.isNaN } && y[1280...].allSatisfy { $0.isFinite })
  }
}
