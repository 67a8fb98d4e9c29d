import CKernels
import Foundation
import KilnTestSupport
import Testing

/// The dynamic 8-bit maps.
extension QuantTests {
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
    check(context, context.calling(views) { kiln_quantize_dynamic(context.handle, $0[0], $0[1], $0[2], isSigned) })
    check(context, context.calling(views) { kiln_dequantize_dynamic(context.handle, $0[3], $0[0], $0[1], isSigned) })
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
    check(context, context.calling(views) { kiln_dequantize_dynamic(context.handle, $0[0], $0[1], $0[2], isSigned) })
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
      let got = Self.same("dynamic \(count)", onOpenCL: true) { Self.dynamic(x, isSigned, $0) }
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
    // Beside the edges between two numbers of the map, where rounded arithmetic would decide by chance.
    let positive = Self.map(isSigned).filter { $0 >= 0 }
    let edges = zip(positive, positive.dropFirst()).flatMap { low, high -> [Float] in
      let edge = (low + high) / 2
      return [edge.nextDown.nextDown, edge.nextDown, edge, edge.nextUp, edge.nextUp.nextUp]
    }
    for start in stride(from: 0, to: edges.count, by: 127) {
      let some = edges[start..<min(start + 127, edges.count)]
      _ = Self.same("dynamic edges", onOpenCL: true) { Self.dynamic([1] + some + some.map { -$0 }, isSigned, $0) }
    }
    var x = Self.values(1024, seed: 5)
    for index in 0..<256 {
      x[index] = 0
      x[256 + index] = 0x1p-133
    }
    x[700] = .nan
    x[800] = .infinity
    let got = Self.same("dynamic faults", onOpenCL: true) { Self.dynamic(x, isSigned, $0) }
    #expect(got.scales[0] == 0 && got.scales[1] == 0 && got.y[..<512].allSatisfy { $0 == 0 })
    #expect(got.y[512...].allSatisfy { Float(bitPattern: $0).isNaN })
  }
}
