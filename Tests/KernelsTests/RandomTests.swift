import CKernels
import KilnTestSupport
import Testing

struct RandomTests {
  static func options(seed: UInt64 = 5, step: UInt64 = 0, site: UInt32 = 0) -> kiln_random_options {
    var options = kiln_random_defaults()
    options.seed = seed
    options.step = step
    options.site = site
    return options
  }

  static func uniform(
    _ count: Int, _ low: Double = 0, _ high: Double = 1, _ options: kiln_random_options = options(),
    _ dtype: kiln_dtype = KILN_F32, threads: Int = 1
  ) -> [Double] {
    let context = TestContext(threads: threads)
    let y = TestTensor([count], dtype, layout: .misaligned)
    var options = options
    let status = withPointers([y.view]) { kiln_random_uniform(context.handle, $0[0], low, high, &options) }
    #expect(status == KILN_OK && y.guardsIntact, "\(context.lastError)")
    return y.values
  }

  static func normal(
    _ count: Int, _ mean: Double, _ std: Double, _ dtype: kiln_dtype = KILN_F32, threads: Int = 1
  ) -> [Double] {
    let context = TestContext(threads: threads)
    let y = TestTensor([count], dtype, layout: .misaligned)
    var options = options()
    let status = withPointers([y.view]) { kiln_random_normal(context.handle, $0[0], mean, std, &options) }
    #expect(status == KILN_OK && y.guardsIntact, "\(context.lastError)")
    return y.values
  }

  /// The known answers that Random123 publishes for philox4x32-10.
  @Test func publishedVectors() {
    func philox(_ counter: [UInt32], _ key: [UInt32]) -> [UInt32] {
      var out: [UInt32] = [0, 0, 0, 0]
      kiln_philox4x32(&out, counter, key)
      return out
    }
    let ones = [UInt32](repeating: 0xFFFF_FFFF, count: 4)
    #expect(philox([0, 0, 0, 0], [0, 0]) == [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8])
    #expect(philox(ones, [0xFFFF_FFFF, 0xFFFF_FFFF]) == [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD])
    #expect(
      philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0])
        == [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1])
  }

  @Test func uniformFollowsTheElementRule() {
    let options = Self.options(seed: 0x1111_2222_3333_4444, step: 0x5555_6666_7777_8888, site: 9)
    let single = Self.uniform(1001, -2, 6, options)
    let double = Self.uniform(1001, -2, 6, options, KILN_F64)
    var words: [UInt32] = [0, 0, 0, 0]
    for element in 0..<1001 {
      kiln_philox4x32(&words, [UInt32(element / 4), 9, 0x7777_8888, 0x5555_6666], [0x3333_4444, 0x1111_2222])
      let word = words[element % 4]
      #expect(single[element] == Double(Float(-2 + 8 * (Double(word >> 8) * 0x1p-24))))
      #expect(double[element] == -2 + 8 * (Double(word) * 0x1p-32))
    }
  }

  @Test func uniformIsUniform() {
    let count = 50_000
    for dtype in [KILN_F32, KILN_F64] {
      let values = Self.uniform(count, -1, 3, Self.options(), dtype)
      #expect(values.allSatisfy { $0 >= -1 && $0 < 3 })
      let mean = values.reduce(0, +) / Double(count)
      let variance = values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(count)
      #expect(abs(mean - 1) < 5 * (16.0 / 12 / Double(count)).squareRoot())
      #expect(abs(variance - 16.0 / 12) < 0.03)
      for bin in 0..<16 {  // each within 5 standard deviations of a binomial count
        let hits = values.filter { $0 >= -1 + Double(bin) / 4 && $0 < -1 + Double(bin + 1) / 4 }.count
        #expect(abs(hits - count / 16) < 5 * 54)
      }
    }
  }

  @Test func uniformExcludesItsUpperEnd() {
    let tight = 1 + Double(Float(1).ulp)
    #expect(Self.uniform(4000, 1, tight).allSatisfy { $0 == 1 })
    #expect(Self.uniform(50_000, 1, 2).allSatisfy { $0 >= 1 && $0 < 2 })
    #expect(Self.uniform(4000, 0, 0.1).allSatisfy { $0 < 0.1 })
  }

  @Test func normalIsNormal() {
    let count = 50_000
    for dtype in [KILN_F32, KILN_F64] {
      let scaled = Self.normal(count, 3, 0.5, dtype).map { ($0 - 3) / 0.5 }
      let moments = (1...4).map { power in
        scaled.map { value in (0..<power).reduce(1) { product, _ in product * value } }.reduce(0, +) / Double(count)
      }
      #expect(abs(moments[0]) < 0.023)  // each within 5 standard deviations
      #expect(abs(moments[1] - 1) < 0.032)
      #expect(abs(moments[2]) < 0.088)
      #expect(abs(moments[3] - 3) < 0.22)
      let within = Double(scaled.filter { abs($0) < 1 }.count) / Double(count)
      #expect(abs(within - 0.682689) < 0.0105)
      let neighbours = zip(scaled, scaled.dropFirst()).map { $0 * $1 }.reduce(0, +) / Double(count)
      #expect(abs(neighbours) < 0.023)
    }
    #expect(Self.normal(10, 2, 0).allSatisfy { $0 == 2 })
  }

  @Test func sameBitsForAnyThreadCountAndLength() {
    let values = Self.uniform(20_001)
    let normals = Self.normal(20_001, 0, 1)
    for threads in [2, 3, 7] {
      #expect(Self.uniform(20_001, threads: threads) == values)
      #expect(Self.normal(20_001, 0, 1, threads: threads) == normals)
    }
    #expect(Self.uniform(77) == Array(values.prefix(77)))
    #expect(values != Self.uniform(20_001, 0, 1, Self.options(seed: 6)))
    #expect(values != Self.uniform(20_001, 0, 1, Self.options(step: 1)))
    #expect(values != Self.uniform(20_001, 0, 1, Self.options(site: 1)))
  }

  @Test func refusesWhatDoesNotFit() {
    let context = TestContext()
    let y = TestTensor([4])
    func uniform(_ low: Double, _ high: Double) -> kiln_status {
      withPointers([y.view]) { kiln_random_uniform(context.handle, $0[0], low, high, nil) }
    }
    #expect(uniform(1, 1) == KILN_ERR_OPTION && context.lastError.contains("[1, 1) is not a finite interval"))
    #expect(uniform(0, .infinity) == KILN_ERR_OPTION)
    #expect(uniform(.nan, 1) == KILN_ERR_OPTION)
    #expect(uniform(-1.5e308, 1.5e308) == KILN_ERR_OPTION)
    func normal(_ mean: Double, _ std: Double) -> kiln_status {
      withPointers([y.view]) { kiln_random_normal(context.handle, $0[0], mean, std, nil) }
    }
    #expect(normal(0, -1) == KILN_ERR_OPTION && context.lastError.contains("mean 0 and standard deviation -1"))
    #expect(normal(.nan, 1) == KILN_ERR_OPTION)
    let rows = TestTensor([2, 3], layout: .strided)
    let integers = TestTensor([4], KILN_I32)
    #expect(withPointers([rows.view]) { kiln_random_normal(context.handle, $0[0], 0, 1, nil) } == KILN_ERR_STRIDE)
    #expect(withPointers([integers.view]) { kiln_random_normal(context.handle, $0[0], 0, 1, nil) } == KILN_ERR_DTYPE)
    #expect(context.lastError == "random_normal: y is i32, not f32 or f64")
  }
}
