import CKernels
import KilnTestSupport
import Testing

/// Copies, conversions and fills, on memory of any type and layout.
struct CopyTests {
  static let floating = [KILN_F32, KILN_F64, KILN_F16, KILN_BF16]
  static let integers = [KILN_I32, KILN_I64, KILN_U8, KILN_I8]

  static func view(
    _ data: UnsafeMutableRawPointer, _ dtype: kiln_dtype, _ shape: [Int], strides: [Int]
  ) -> kiln_tensor {
    var tensor = kiln_tensor_dense(data, dtype, Int32(shape.count), shape.map(Int64.init))
    withUnsafeMutableBytes(of: &tensor.strides) { raw in
      let bound = raw.bindMemory(to: Int64.self)
      for (index, stride) in strides.enumerated() { bound[index] = Int64(stride) }
    }
    return tensor
  }

  /// The elements of `x`, copied into the type `U`: their bits.
  static func convert<T: BitwiseCopyable, U: BitwiseCopyable>(
    _ x: [T], _ from: kiln_dtype, _ to: kiln_dtype, as: U.Type, zero: U, isa: kiln_isa = KILN_ISA_BEST
  ) -> [U] {
    let context = TestContext(isa: isa)
    var x = x
    var y = [U](repeating: zero, count: x.count)
    let status = x.withUnsafeMutableBytes { source in
      y.withUnsafeMutableBytes { target in
        withPointers([
          view(target.baseAddress!, to, [target.count / MemoryLayout<U>.stride], strides: [1]),
          view(source.baseAddress!, from, [source.count / MemoryLayout<T>.stride], strides: [1]),
        ]) { kiln_copy(context.handle, $0[0], $0[1]) }
      }
    }
    #expect(status == KILN_OK, "\(context.lastError)")
    return y
  }

  /// Numbers of every exponent, with low bits that make ties and near ties of them; and the special ones.
  static let singles: [Float] = {
    var values: [Float] = [0, -0.0, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude]
    values += [65504, 65519.996, 65520, 65536]
    for exponent in stride(from: UInt32(0), to: 255, by: 1) {
      for high in [0, 1, 2, 0x3FF, 0x1FFF, 0x5555, 0x3FFFF] as [UInt32] {
        for low in [0, 1, 0xFFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001] as [UInt32] {
          let bits = exponent << 23 | (high << 13 ^ low) & 0x7FFFFF
          values += [Float(bitPattern: bits), Float(bitPattern: bits | 1 << 31)]
        }
      }
    }
    return values
  }()

  static func bf16(_ x: Float) -> UInt16 {
    let bits = x.bitPattern
    let lower = bits >> 16
    let rest = bits & 0xFFFF
    return UInt16(truncatingIfNeeded: rest > 0x8000 || (rest == 0x8000 && lower & 1 == 1) ? lower + 1 : lower)
  }

  @Test(arguments: TestContext.availableISAs) func narrowsToTheNearest(isa: kiln_isa) {
    let f16 = Self.convert(Self.singles, KILN_F32, KILN_F16, as: UInt16.self, zero: 0, isa: isa)
    #expect(f16 == Self.singles.map { Float16($0).bitPattern })
    let bf16 = Self.convert(Self.singles, KILN_F32, KILN_BF16, as: UInt16.self, zero: 0, isa: isa)
    #expect(bf16 == Self.singles.map(Self.bf16))
    let golden: [Float] = [1 + 0x1p-8, 1 + 0x3p-8, 3.1415927, -0.1, 65504]
    let rounded = Self.convert(golden, KILN_F32, KILN_BF16, as: UInt16.self, zero: 0, isa: isa)
    #expect(rounded == [0x3F80, 0x3F82, 0x4049, 0xBDCD, 0x4780])
    let doubles = Self.singles.map(Double.init)
    #expect(Self.convert(doubles, KILN_F64, KILN_F32, as: Float.self, zero: 0, isa: isa) == Self.singles)
  }

  @Test(arguments: TestContext.availableISAs) func widensExactly(isa: kiln_isa) {
    let all = (0...UInt16.max).map { $0 }
    func isNaN(_ h: UInt16, _ infinity: UInt16) -> Bool { h & 0x7FFF > infinity }
    for (dtype, infinity) in [(KILN_F16, 0x7C00), (KILN_BF16, 0x7F80)] as [(kiln_dtype, UInt16)] {
      let wide = Self.convert(all, dtype, KILN_F32, as: Float.self, zero: 0, isa: isa)
      let wider = Self.convert(all, dtype, KILN_F64, as: Double.self, zero: 0, isa: isa)
      let back = Self.convert(wide, KILN_F32, dtype, as: UInt16.self, zero: 0, isa: isa)
      let further = Self.convert(wider, KILN_F64, dtype, as: UInt16.self, zero: 0, isa: isa)
      let wrong = all.indices.filter { i in
        let truth = dtype == KILN_F16 ? Float(Float16(bitPattern: all[i])) : Float(bitPattern: UInt32(all[i]) << 16)
        if isNaN(all[i], infinity) {
          let returned = isNaN(back[i], infinity) && isNaN(further[i], infinity) && (back[i] ^ all[i]) >> 15 == 0
          return !(wide[i].isNaN && wider[i].isNaN && returned)
        }
        let exact = wide[i].bitPattern == truth.bitPattern && wider[i] == Double(truth)
        return !(exact && back[i] == all[i] && further[i] == all[i])
      }
      #expect(wrong.isEmpty)
    }
  }

  @Test func roundsDoublesOnce() {
    // Each lies next to a tie that fp32 cannot tell from it.
    let near: [Double] = [1 + 0x1p-8 + 0x1p-40, 1 + 0x3p-8 - 0x1p-40, -(1 + 0x1p-8 + 0x1p-40), 1e300, -1e-300]
    let bf16 = Self.convert(near, KILN_F64, KILN_BF16, as: UInt16.self, zero: 0)
    #expect(bf16 == [0x3F81, 0x3F81, 0xBF81, 0x7F80, 0x8000])
    let half: [Double] = [1 + 0x1p-11 + 0x1p-40, 1 + 0x3p-11 - 0x1p-40, 0x1p-25 + 0x1p-60, 0x1p-25]
    let f16 = Self.convert(half + [65520 - 0x1p-30, .infinity], KILN_F64, KILN_F16, as: UInt16.self, zero: 0)
    #expect(f16 == [0x3C01, 0x3C01, 1, 0, 0x7BFF, 0x7C00])
    #expect(Self.convert([Double.nan], KILN_F64, KILN_F16, as: Float16.self, zero: 0)[0].isNaN)
    #expect(Self.convert([Float16(0x1.554p3)], KILN_F16, KILN_BF16, as: UInt16.self, zero: 0) == [Self.bf16(0x1.554p3)])
  }

  /// Shape, strides of y and of x, in elements.
  static let layouts: [([Int], [Int], [Int])] = [
    ([7], [1], [3]),
    ([5, 6], [6, 1], [1, 5]),
    ([5, 6], [1, 5], [8, 1]),
    ([2, 3, 4], [12, 4, 1], [1, 2, 6]),
    ([2, 3, 1, 4], [40, 13, 7, 3], [12, 4, 99, 1]),
    ([2, 2, 3, 2, 2, 300], [7200, 3600, 1200, 600, 300, 1], [1, 2, 4, 12, 24, 48]),
    ([3, 20_000], [20_000, 1], [20_003, 1]),
    ([], [], []),
    ([3, 0], [1, 1], [1, 1]),
  ]

  static func offsets(_ shape: [Int], _ strides: [Int]) -> [Int] {
    zip(shape, strides).reduce([0]) { outer, dimension in
      outer.flatMap { base in (0..<dimension.0).map { base + $0 * dimension.1 } }
    }
  }

  static func code(_ index: Int, _ dtype: kiln_dtype) -> UInt64 {
    let small = index % 100
    return switch dtype {
    case KILN_F32: UInt64(Float(small).bitPattern)
    case KILN_F64: Double(small).bitPattern
    case KILN_F16: UInt64(Float16(small).bitPattern)
    case KILN_BF16: UInt64(bf16(Float(small)))
    default: UInt64(small)
    }
  }

  static func store(_ value: UInt64, _ memory: UnsafeMutableRawBufferPointer, _ element: Int, _ size: Int) {
    withUnsafeBytes(of: value.littleEndian) { bytes in
      for byte in 0..<size { memory[element * size + byte] = bytes[byte] }
    }
  }

  static func load(_ memory: UnsafeMutableRawBufferPointer, _ element: Int, _ size: Int) -> UInt64 {
    (0..<size).reduce(0) { $0 | UInt64(memory[element * size + $1]) << (8 * UInt64($1)) }
  }

  /// Runs `body` with zeroed memory for the offsets of a layout.
  static func withMemory(_ offsets: [Int], _ size: Int, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
    var bytes = [UInt8](repeating: 0, count: ((offsets.max() ?? 0) + 2) * size + 8)
    bytes.withUnsafeMutableBytes(body)
  }

  static func checkCopy(
    _ shape: [Int], _ sy: [Int], _ sx: [Int], _ to: kiln_dtype, _ from: kiln_dtype, threads: Int = 1
  ) {
    let yAt = offsets(shape, sy)
    let xAt = offsets(shape, sx)
    let ySize = kiln_dtype_size(to)
    let xSize = kiln_dtype_size(from)
    let context = TestContext(threads: threads)
    withMemory(xAt, xSize) { x in
      for (index, at) in xAt.enumerated() { store(code(index, from), x, at, xSize) }
      withMemory(yAt, ySize) { y in
        let status = withPointers([
          view(y.baseAddress!, to, shape, strides: sy), view(x.baseAddress!, from, shape, strides: sx),
        ]) { kiln_copy(context.handle, $0[0], $0[1]) }
        #expect(status == KILN_OK, "\(context.lastError)")
        let wrong = yAt.indices.first { load(y, yAt[$0], ySize) != code($0, to) }
        #expect(wrong == nil, "\(shape) \(sy) \(sx) \(to.rawValue) from \(from.rawValue)")
        for at in yAt { store(0, y, at, ySize) }
        #expect(y.allSatisfy { $0 == 0 }, "wrote outside of y")
      }
    }
  }

  @Test(arguments: 0..<layouts.count) func everyLayoutAndType(layout: Int) {
    let (shape, sy, sx) = Self.layouts[layout]
    let pairs: [(kiln_dtype, kiln_dtype)] =
      shape.reduce(1, *) > 1000
      ? [(KILN_F32, KILN_F32), (KILN_BF16, KILN_F32), (KILN_F32, KILN_F16)]
      : Self.floating.flatMap { to in Self.floating.map { (to, $0) } } + Self.integers.map { ($0, $0) }
    for (to, from) in pairs { Self.checkCopy(shape, sy, sx, to, from) }
    Self.checkCopy(shape, sy, sx, KILN_F16, KILN_BF16, threads: 3)
  }

  @Test(arguments: floating + integers) func fills(dtype: kiln_dtype) {
    let context = TestContext()
    let size = kiln_dtype_size(dtype)
    for (shape, strides, _) in Self.layouts {
      let at = Self.offsets(shape, strides)
      Self.withMemory(at, size) { y in
        let view = Self.view(y.baseAddress!, dtype, shape, strides: strides)
        let status = withPointers([view]) { kiln_fill(context.handle, $0[0], 42) }
        #expect(status == KILN_OK, "\(context.lastError)")
        #expect(at.allSatisfy { Self.load(y, $0, size) == Self.code(42, dtype) })
        for offset in at { Self.store(0, y, offset, size) }
        #expect(y.allSatisfy { $0 == 0 }, "wrote outside of y")
      }
    }
  }

  @Test func fillsWithTheEndsOfIntegerTypes() {
    var y: [Int64] = [0]
    let context = TestContext()
    func fill(_ dtype: kiln_dtype, _ value: Double) -> kiln_status {
      y.withUnsafeMutableBytes { raw in
        let view = Self.view(raw.baseAddress!, dtype, [1], strides: [1])
        return withPointers([view]) { kiln_fill(context.handle, $0[0], value) }
      }
    }
    #expect(fill(KILN_I64, -0x1p63) == KILN_OK && y[0] == .min)
    #expect(fill(KILN_I64, -1) == KILN_OK && fill(KILN_I32, -2) == KILN_OK && y[0] == -2)
    #expect(fill(KILN_U8, 255) == KILN_OK && fill(KILN_I8, -128) == KILN_OK)
    let outside = [(KILN_I64, 0x1p63), (KILN_I32, 0x1p31), (KILN_U8, -1), (KILN_I8, 128), (KILN_I32, 1.5)]
    for (dtype, value) in outside + [(KILN_I32, .nan)] {
      #expect(fill(dtype, value) == KILN_ERR_OPTION)
    }
    #expect(context.lastError == "fill: y is i32, which does not hold nan")
  }

  @Test func refusesWhatDoesNotFit() {
    let context = TestContext()
    let f = TestTensor([2, 3])
    let g = TestTensor([3, 2])
    let i = TestTensor([2, 3], KILN_I32)
    #expect(withPointers([f.view, g.view]) { kiln_copy(context.handle, $0[0], $0[1]) } == KILN_ERR_SHAPE)
    #expect(context.lastError == "copy: shapes differ: y is [2, 3], x is [3, 2]")
    #expect(withPointers([f.view, i.view]) { kiln_copy(context.handle, $0[0], $0[1]) } == KILN_ERR_DTYPE)
    #expect(context.lastError == "copy: no conversion from i32 to f32")
    #expect(kiln_copy(context.handle, nil, nil) == KILN_ERR_NULL)
  }
}
