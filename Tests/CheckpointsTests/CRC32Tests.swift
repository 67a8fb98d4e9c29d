// The checksum, against its published check value and against the definition, bit by bit.

import Testing

@testable import KilnCheckpoints

@Suite struct CRC32Tests {
  private func checksum(_ bytes: [UInt8]) -> UInt32 {
    var crc = CRC32()
    crc.update(bytes.span.bytes)
    return crc.value
  }

  @Test func checkValue() {
    #expect(checksum(Array("123456789".utf8)) == 0xCBF4_3926)
    #expect(checksum([]) == 0)
  }

  @Test(arguments: 0...41) func equalsTheDefinitionAtEveryLength(count: Int) {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ 13) }
    var expected = UInt32.max
    for byte in bytes {
      expected ^= UInt32(byte)
      for _ in 0..<8 { expected = expected >> 1 ^ (expected & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    #expect(checksum(bytes) == ~expected)
  }

  @Test func piecesEqualTheWhole() {
    let bytes = (0..<100).map { UInt8($0) }
    for cut in 0...100 {
      var crc = CRC32()
      crc.update(bytes.span.extracting(first: cut).bytes)
      crc.update(bytes.span.extracting(droppingFirst: cut).bytes)
      #expect(crc.value == checksum(bytes))
    }
  }
}
