import CKernels
import Foundation
import KilnTestSupport
import Testing

/// Outputs of more than 8 MiB are written past the cache, unless they are inputs: both ways must give the same bits,
/// and leave the gaps between rows alone.
struct StreamTests {
  /// Pseudo-random rows of odd length with gaps between them, one element past the alignment.
  final class Matrix {
    static let rows = 4200
    static let cols = 1001
    static let stride = 1003

    let dtype: kiln_dtype
    let bytes: Int
    private let memory: UnsafeMutableRawPointer

    init(_ dtype: kiln_dtype, seed: UInt64) {
      self.dtype = dtype
      let count = Self.rows * Self.stride + 1
      bytes = count * kiln_dtype_size(dtype)
      memory = .allocate(byteCount: bytes, alignment: 64)
      let single = UnsafeMutablePointer<Float>.allocate(capacity: count)
      defer { single.deallocate() }
      let context = TestContext()
      var options = kiln_random_defaults()
      options.seed = seed
      let source = kiln_tensor_dense(single, KILN_F32, 1, [Int64(count)])
      let target = kiln_tensor_dense(memory, dtype, 1, [Int64(count)])
      withPointers([target, source]) {
        #expect(kiln_random_uniform(context.handle, $0[1], -2, 2, &options) == KILN_OK)
        #expect(kiln_copy(context.handle, $0[0], $0[1]) == KILN_OK)
      }
    }

    deinit { memory.deallocate() }

    var view: kiln_tensor {
      var view = kiln_tensor_dense(memory, dtype, 2, [Int64(Self.rows), Int64(Self.cols)])
      view.offset = Int64(kiln_dtype_size(dtype))
      view.strides.0 = Int64(Self.stride)
      return view
    }

    func equals(_ other: Matrix) -> Bool { memcmp(memory, other.memory, bytes) == 0 }
  }

  typealias View = UnsafePointer<kiln_tensor>

  /// Runs `call` with outputs of their own, then with the first inputs in their place.
  static func check(_ dtype: kiln_dtype, outputs: Int, inputs: Int, _ call: (OpaquePointer, [View]) -> kiln_status) {
    for isa in TestContext.availableISAs {
      let context = TestContext(isa: isa, threads: 2)
      let apart = (0..<outputs).map { Matrix(dtype, seed: UInt64($0)) }
      let ins = (0..<inputs).map { Matrix(dtype, seed: UInt64($0)) }
      let views = ins.map(\.view)
      #expect(withPointers(apart.map(\.view) + views) { call(context.handle, $0) } == KILN_OK)
      #expect(withPointers(views.prefix(outputs) + views) { call(context.handle, $0) } == KILN_OK)
      #expect(zip(apart, ins).allSatisfy { $0.equals($1) }, "isa \(isa.rawValue), dtype \(dtype.rawValue)")
    }
  }

  @Test(arguments: [KILN_F32, KILN_BF16, KILN_F16]) func elementwise(dtype: kiln_dtype) {
    Self.check(dtype, outputs: 1, inputs: 2) { kiln_add($0, $1[0], $1[1], $1[2]) }
    Self.check(dtype, outputs: 1, inputs: 1) { kiln_copy($0, $1[0], $1[1]) }
    Self.check(dtype, outputs: 2, inputs: 3) { kiln_swiglu_bwd($0, $1[0], $1[1], $1[2], $1[3], $1[4]) }
  }

  @Test(arguments: [KILN_F32, KILN_BF16, KILN_F16]) func norms(dtype: kiln_dtype) {
    Self.check(dtype, outputs: 1, inputs: 1) { kiln_layer_norm_fwd($0, $1[0], $1[1], nil, nil, nil) }
    Self.check(dtype, outputs: 1, inputs: 2) { kiln_layer_norm_bwd($0, $1[0], nil, nil, $1[1], $1[2], nil, nil) }
  }
}
