import CKernels
import KilnTestSupport
import Testing

/// OpenBLAS in place of Kiln's products. Where it is not installed, the only test is that it is refused properly.
struct GemmProviderTests {
  private static func create(_ gemm: kiln_gemm_provider) -> (status: kiln_status, error: String) {
    var options = kiln_context_defaults()
    options.gemm = gemm
    var handle: OpaquePointer?
    let status = kiln_context_create(&handle, &options)
    defer { kiln_context_free(handle) }
    return (status, String(cString: kiln_last_error(nil)))
  }

  static let isInstalled = create(KILN_GEMM_OPENBLAS).status == KILN_OK

  private func name(_ context: TestContext) -> String { String(cString: kiln_context_gemm(context.handle)) }

  @Test func isKilnUnlessAskedFor() {
    #expect(name(TestContext(gemm: KILN_GEMM_KILN)) == "kiln")
    #expect(name(TestContext(device: KILN_DEVICE_REF, gemm: KILN_GEMM_OPENBLAS)) == "kiln")
    let unknown = Self.create(kiln_gemm_provider(rawValue: 9))
    #expect(unknown.status == KILN_ERR_OPTION)
    #expect(unknown.error.contains("provider of products 9"))
  }

  @Test(.enabled(if: !isInstalled)) func isRefusedWhereItIsNot() {
    let (status, error) = Self.create(KILN_GEMM_OPENBLAS)
    #expect(status == KILN_ERR_LIBRARY)
    #expect(error.contains("install libopenblas0-pthread"))
  }

  /// The error is at most that of the plain loops in fp32, or 8 roundings of the largest element.
  private func check(_ operation: KernelCase, _ dtype: kiln_dtype = KILN_F32) {
    let exact = operation.run(TestContext(device: KILN_DEVICE_REF), KILN_F64)
    let plain = operation.run(TestContext(device: KILN_DEVICE_REF), KILN_F32)
    for layout in Layout.allCases {
      let context = TestContext(threads: 2, gemm: KILN_GEMM_OPENBLAS)
      #expect(name(context) == "openblas")
      let results = operation.run(context, dtype, layout)
      for (index, result) in results.enumerated() {
        let truth = exact[index].values
        let scale = truth.map(abs).max() ?? 0
        let error = zip(plain[index].values, truth).map { abs($0 - $1) }.max() ?? 0
        let tolerance = max(2 * error, 8 * scale * 0x1p-24)
        #expect(scale > 0)
        let worst = zip(result.values, truth).map { abs($0 - $1) }.max() ?? 0
        #expect(worst <= tolerance, "\(operation.name), output \(index), \(layout): off by \(worst)")
      }
    }
  }

  @Test(.enabled(if: isInstalled)) func agreesWithTheReference() {
    for (m, n, k) in [(1, 33, 70), (5, 16, 8), (17, 1, 9), (40, 49, 260), (70, 90, 1)] {
      for product in Product(m, n, k).everyTranspose {
        check(product.kernelCase)
        check(product.with { ($0.alpha, $0.accumulate) = (0.75, true) }.kernelCase)
        check(product.with { ($0.biasGradient, $0.biasGradientOfB, $0.accumulate) = (true, m < n, true) }.kernelCase)
      }
    }
    for product in Product(9, 11, 13, batch: 3).everyTranspose { check(product.kernelCase) }
  }

  /// Each part of the epilogue, and more rows than one block of the pass after the product.
  @Test(.enabled(if: isInstalled)) func doesTheWholeEpilogue() {
    for activation in [KILN_ACT_NONE, KILN_ACT_GELU_TANH, KILN_ACT_SILU] {
      for bits in 0..<16 {
        let product = Product(19, 35, 20, batch: bits % 3 == 0 ? 2 : nil).with {
          ($0.activation, $0.alpha) = (activation, 0.75)
          ($0.accumulate, $0.bias) = (bits & 1 > 0, bits & 2 > 0)
          ($0.residual, $0.preactivation) = (bits & 4 > 0, bits & 8 > 0)
        }
        check(product.kernelCase)
      }
    }
    check(Product(70, 16_400, 2).with { ($0.bias, $0.residual, $0.preactivation) = (true, true, true) }.kernelCase)
  }

  /// What BLAS cannot take goes Kiln's way, so the bits are Kiln's.
  @Test(.enabled(if: isInstalled)) func leavesTheRestToKiln() {
    let product = Product(20, 18, 70)
    var strided = product.kernelCase
    strided.inputs[0] = .real([20, 140], seed: 1)
    strided.call = { context, outputs, inputs in
      var a = inputs[0]
      a.shape.1 = 70
      a.strides.1 = 2
      return product.kernelCase.call(context, outputs, [a, inputs[1]])
    }
    for (operation, dtype) in [(strided, KILN_F32), (product.kernelCase, KILN_BF16), (product.kernelCase, KILN_F64)] {
      let ours = operation.run(TestContext(gemm: KILN_GEMM_KILN), dtype)[0].bits
      #expect(operation.run(TestContext(gemm: KILN_GEMM_OPENBLAS), dtype)[0].bits == ours)
    }
  }

  @Test(.enabled(if: isInstalled)) func workspaceIsExact() {
    let product = Product(40, 50, 60).with { $0.bias = true }
    let context = TestContext(gemm: KILN_GEMM_OPENBLAS)
    _ = product.kernelCase.run(context, KILN_F32)
    let used = kiln_context_workspace_peak(context.handle)
    kiln_context_reset_workspace_peak(context.handle)
    kiln_context_set_query(context.handle, true)
    _ = product.kernelCase.run(context, KILN_F32)
    #expect(used == kiln_context_workspace_peak(context.handle))
  }
}
