import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Bit for bit what public implementations make of the same numbers: `Tests/Golden/quant`.
struct QuantGoldenTests {
  struct Golden: Decodable {
    struct Float8: Decodable {
      var x, e4m3, e5m2: Data
    }

    struct Blocks: Decodable {
      var blocks, y: Data
    }

    struct GGUF: Decodable {
      var x: Data
      var Q4_0, Q4_1, Q8_0: Blocks
    }

    struct NF4: Decodable {
      var x, codes, absmax, offset, nested, scales, y: Data
    }

    struct Dynamic: Decodable {
      var x, map, codes, scales, y: Data
    }

    struct Int8: Decodable {
      var x, q, scales: Data
    }

    var float8: Float8
    var gguf: GGUF
    var nf4: NF4
    var signed, unsigned: Dynamic
    var int8: Int8

    static func load() throws -> Golden {
      let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Golden/quant/quant.json")
      return try JSONDecoder().decode(Golden.self, from: Data(contentsOf: file))
    }
  }

  static func floats(_ data: Data) -> [Float] { words(data).map { Float(bitPattern: $0) } }

  static func words(_ data: Data) -> [UInt32] {
    data.withUnsafeBytes { raw in
      (0..<data.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
    }
  }

  @Test func float8IsThatOfTorch() throws {
    let golden = try Golden.load().float8
    let x = Self.floats(golden.x)
    for context in QuantTests.contexts {
      #expect(QuantTests.cast(x, QuantTests.narrow[0], context) == golden.e4m3.map(Int.init))
      #expect(QuantTests.cast(x, QuantTests.narrow[1], context) == golden.e5m2.map(Int.init))
    }
  }

  @Test func blocksAreThoseOfGGUF() throws {
    let golden = try Golden.load().gguf
    let x = Self.floats(golden.x)
    for context in QuantTests.contexts {
      for (format, expected) in [(KILN_Q4_0, golden.Q4_0), (KILN_Q4_1, golden.Q4_1), (KILN_Q8_0, golden.Q8_0)] {
        let got = QuantTests.gguf(x, [6, 96], format, context)
        #expect(got.blocks == Array(expected.blocks))
        #expect(got.y.map(\.bitPattern) == Self.words(expected.y))
      }
    }
  }

  @Test func nf4IsThatOfBitsandbytes() throws {
    let golden = try Golden.load().nf4
    let x = Self.floats(golden.x)
    for context in QuantTests.contexts {
      let plain = QuantTests.nf4(x, isNested: false, context)
      #expect(plain.codes == Array(golden.codes) && plain.absmax == Self.words(golden.absmax))
      let nested = QuantTests.nf4(x, isNested: true, context)
      #expect(nested.codes == Array(golden.codes) && nested.nested == Array(golden.nested))
      #expect(nested.scales == Self.words(golden.scales) && nested.offset == Self.words(golden.offset))
      #expect(nested.y == Self.words(golden.y))
    }
  }

  @Test func dynamicMapsAreThoseOfBitsandbytes() throws {
    let golden = try Golden.load()
    for (isSigned, expected) in [(true, golden.signed), (false, golden.unsigned)] {
      #expect(QuantTests.map(isSigned).map(\.bitPattern) == Self.words(expected.map))
      for context in QuantTests.contexts {
        let got = QuantTests.dynamic(Self.floats(expected.x), isSigned, context)
        #expect(got.codes == Array(expected.codes) && got.scales == Self.words(expected.scales))
        #expect(got.y == Self.words(expected.y))
      }
    }
  }

  @Test func int8IsThatOfTorchao() throws {
    let golden = try Golden.load().int8
    for context in QuantTests.contexts {
      let got = QuantTests.int8(Self.floats(golden.x), [8, 100], [8, 1], context)
      #expect(got.q.map { UInt8(bitPattern: $0) } == Array(golden.q) && got.scales == Self.words(golden.scales))
    }
  }
}
