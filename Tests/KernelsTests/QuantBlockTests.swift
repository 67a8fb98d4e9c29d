import CKernels
import Foundation
import KilnTestSupport
import Testing

/// The blocks of files: GGUF and NF4.
extension QuantTests {
  static func gguf(
    _ x: [Float], _ shape: [Int], _ format: kiln_block_format, _ context: TestContext
  ) -> (blocks: [UInt8], y: [Float]) {
    let source = floats(x)
    let width = shape[1] / 32 * kiln_block_bytes(format)
    let blocks = bytes(shape[0] * width)
    let y = floats([Float](repeating: -1, count: x.count))
    let views = [blocks.view(KILN_U8, [shape[0], width]), source.view(KILN_F32, shape), y.view(KILN_F32, shape)]
    check(context, context.calling(views) { kiln_quantize_blocks(context.handle, $0[0], $0[1], format) })
    check(context, context.calling(views) { kiln_dequantize_blocks(context.handle, $0[2], $0[0], format) })
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
    let got = Self.same("blocks", onOpenCL: true) { context in bits(Self.gguf(x, [4, 64], format, context).y) }
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
    check(
      context,
      context.calling(views) { p in
        kiln_quantize_nf4(context.handle, p[0], p[1], isNested ? p[2] : nil, isNested ? p[3] : nil, p[4])
      })
    check(
      context,
      context.calling(views) { p in
        kiln_dequantize_nf4(context.handle, p[5], p[0], p[1], isNested ? p[2] : nil, isNested ? p[3] : nil)
      })
    #expect(codes.isIntact && absmax.isIntact && nested.isIntact && scales.isIntact && y.isIntact)
    return NF4Result(
      codes: codes.values, absmax: bits(absmax.values), nested: nested.values, scales: bits(scales.values),
      offset: bits(offset.values), y: bits(y.values))
  }

  @Test func nf4OfAnyLength() {
    for count in [1, 2, 63, 64, 65, 127, 20_001] {
      let x = Self.values(count, seed: 15, spread: 2)
      for isNested in [false, true] {
        let got = Self.same("nf4 \(count)", onOpenCL: true) { Self.nf4(x, isNested: isNested, $0) }
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
    let got = Self.same("nf4 faults", onOpenCL: true) { Self.nf4(x, isNested: false, $0) }
    #expect(got.codes[..<32].allSatisfy { $0 == 0x77 } && got.y[..<64].allSatisfy { $0 == 0 })
    #expect(got.y[128...].allSatisfy { Float(bitPattern: $0).isNaN })
    #expect(got.y[64..<128].allSatisfy { Float(bitPattern: $0).isFinite })
  }
}
