import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Signed bytes with a scale for each tile.
extension QuantTests {
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
    check(context, context.calling(views) { kiln_quantize_int8(context.handle, $0[0], $0[1], $0[2], &options) })
    check(context, context.calling(views) { kiln_dequantize_int8(context.handle, $0[3], $0[0], $0[1]) })
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
      let got = Self.same("int8 \(shape) \(tiles)", onOpenCL: !isNarrow) {
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
    let got = Self.same("int8", onOpenCL: true) { Self.int8(x, [5, 40], [5, 1], $0) }
    let scales = got.scales.map { Float(bitPattern: $0) }
    #expect(scales[0] == 0 && scales[1].isNaN && scales[2].isNaN && scales[3] > 0 && scales[4] == 0)
    #expect(got.q.prefix(120).allSatisfy { $0 == 0 } && got.q.suffix(40).allSatisfy { $0 == 0 })
    #expect(got.y[40..<120].allSatisfy { Float(bitPattern: $0).isNaN })
    let columns = Self.same("int8", onOpenCL: true) { Self.int8(x, [5, 40], [1, 40], $0) }
    #expect((0..<40).allSatisfy { Float(bitPattern: columns.scales[$0]).isNaN == ($0 == 3 || $0 == 5) })
    // The mean of stochastic rounding is the number itself.
    let count = 20_000
    var constant = [Float](repeating: 0.3 / 127, count: count)
    constant[0] = 1
    let rounded = Self.int8(constant, [1, count], [1, 1], rounding: Self.options(), TestContext()).q.dropFirst()
    let ups = rounded.filter { $0 == 1 }.count
    #expect(rounded.allSatisfy { $0 == 0 || $0 == 1 } && abs(Double(ups) / Double(count) - 0.3) < 0.017)
  }
}
