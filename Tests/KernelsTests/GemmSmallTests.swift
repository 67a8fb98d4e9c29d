import CKernels
import KilnTestSupport
import Testing

/// Products with few rows or few columns, which go straight from a and b.
struct GemmSmallTests {
  /// Every group size, tile and tail; k in several runs and in several parts, the last one shorter.
  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 11, 16])
  func fewRows(m: Int) {
    for (n, k) in [(133, 13), (70, 261), (9, 799)] {
      for product in Product(m, n, k).everyTranspose where !product.transposeA || n == 133 {
        product.kernelCase.check()
      }
    }
  }

  @Test(arguments: [1, 2, 3, 7, 16])
  func fewColumns(n: Int) {
    for (m, k) in [(150, 19), (40, 799)] {
      for product in Product(m, n, k).everyTranspose { product.kernelCase.check() }
    }
  }

  /// The whole epilogue after a product whose k is cut into parts, and in batches.
  @Test func epilogues() {
    for product in [Product(3, 70, 500), Product(1, 40, 700), Product(2, 33, 300, batch: 2), Product(90, 5, 33)] {
      for bits in [0, 7, 8, 15] {
        product.with {
          ($0.alpha, $0.activation) = (0.75, KILN_ACT_GELU_TANH)
          ($0.accumulate, $0.bias) = (bits & 1 > 0, bits & 2 > 0)
          ($0.residual, $0.preactivation) = (bits & 4 > 0, bits & 8 > 0)
        }.kernelCase.check()
      }
    }
  }

  /// Rows of b that lie further apart than they are long.
  @Test func partsOfWiderMatrices() {
    for product in Product(6, 64, 300).everyTranspose {
      for isa in TestContext.availableISAs {
        let dense = product.kernelCase.run(TestContext(isa: isa), KILN_F32)[0].bits
        #expect(product.kernelCase.run(TestContext(isa: isa), KILN_F32, .strided)[0].bits == dense)
      }
    }
  }

  @Test func workspaceIsExact() {
    let product = Product(2, 80, 640)
    let context = TestContext()
    _ = product.kernelCase.run(context, KILN_F32)
    let used = kiln_context_workspace_peak(context.handle)
    #expect(used > 0)
    kiln_context_reset_workspace_peak(context.handle)
    kiln_context_set_query(context.handle, true)
    _ = product.kernelCase.run(context, KILN_F32)
    #expect(used == kiln_context_workspace_peak(context.handle))
  }
}
