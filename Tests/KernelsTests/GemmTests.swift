import CKernels
import KilnTestSupport
import Testing

/// One product: its shape and what is done with it.
struct Product: Sendable {
  var batch: Int?
  var m: Int, n: Int, k: Int
  var transposeA = false, transposeB = false
  var alpha: Float = 1
  var accumulate = false, bias = false, residual = false, preactivation = false
  var gradientAt = false, biasGradient = false, biasGradientOfB = false
  var wide = false  // c, residual and preactivation in fp32 where a and b are narrow
  var activation = KILN_ACT_NONE

  init(_ m: Int, _ n: Int, _ k: Int, batch: Int? = nil) {
    (self.m, self.n, self.k, self.batch) = (m, n, k, batch)
  }

  func with(_ change: (inout Product) -> Void) -> Product {
    var copy = self
    change(&copy)
    return copy
  }

  /// The product with a and b as they are or transposed.
  var everyTranspose: [Product] {
    [(false, false), (false, true), (true, false), (true, true)].map { a, b in
      with { ($0.transposeA, $0.transposeB) = (a, b) }
    }
  }

  var leading: [Int] { batch.map { [$0] } ?? [] }
  var shapeA: [Int] { leading + (transposeA ? [k, m] : [m, k]) }
  var shapeB: [Int] { leading + (transposeB ? [n, k] : [k, n]) }
  var shapeC: [Int] { leading + [m, n] }

  var options: kiln_gemm_options {
    var o = kiln_gemm_defaults()
    o.transpose_a = transposeA ? 1 : 0
    o.transpose_b = transposeB ? 1 : 0
    o.accumulate = accumulate ? 1 : 0
    o.activation = activation
    o.alpha = alpha
    return o
  }

  var kernelCase: KernelCase {
    var inputs: [KernelCase.Operand] = [.real(shapeA, seed: 1), .real(shapeB, seed: 2)]
    if bias { inputs.append(.real([n], seed: 3, wide: true)) }
    if residual { inputs.append(.real(shapeC, seed: 4, wide: wide)) }
    if gradientAt { inputs.append(.real(shapeC, seed: 7, scale: 3, wide: wide)) }
    let initial = accumulate ? pseudoRandom(shapeC.reduce(1, *), seed: 5) : nil
    var outputs: [KernelCase.Output] = [.init(shapeC, initial: initial, wide: wide)]
    if preactivation { outputs.append(.init(shapeC, wide: wide)) }
    let sums = biasGradientOfB ? n : m
    if biasGradient {
      outputs.append(.init([sums], initial: accumulate ? pseudoRandom(sums, seed: 8) : nil, wide: true))
    }
    return KernelCase("gemm \(self)", inputs: inputs, outputs: outputs) { [self] context, outputs, inputs in
      withPointers(outputs + inputs) { p in
        var o = options
        if preactivation { o.preactivation = p[1] }
        if bias { o.bias = p[outputs.count + 2] }
        if residual { o.residual = p[p.count - (gradientAt ? 2 : 1)] }
        if gradientAt { o.gradient_at = p[p.count - 1] }
        if biasGradient { o.bias_gradient = p[outputs.count - 1] }
        o.bias_gradient_of_b = biasGradientOfB ? 1 : 0
        return kiln_gemm(context, p[0], p[outputs.count], p[outputs.count + 1], &o)
      }
    }
  }
}

struct GemmTests {
  /// Around the tiles of every instruction set and the two ways through (few rows: straight from a and b).
  @Test(arguments: [1, 3, 4, 5, 7, 16, 17, 18, 19, 29])
  func everyInstructionSet(m: Int) {
    for (n, k) in [(1, 9), (7, 4), (8, 17), (15, 3), (16, 8), (17, 67), (33, 5), (65, 16), (97, 1)] {
      for product in Product(m, n, k).everyTranspose { product.kernelCase.check() }
    }
  }

  /// More than one run, panel or part along each dimension.
  @Test(arguments: [
    Product(40, 49, 260), Product(19, 18, 1100), Product(2, 70, 1100), Product(1040, 17, 5), Product(9, 300, 3),
    Product(18, 3100, 4), Product(130, 530, 12),
  ])
  func blocks(product: Product) {
    for product in product.everyTranspose where product.transposeA != product.transposeB { product.kernelCase.check() }
  }

  @Test func batches() {
    for product in [Product(19, 35, 11, batch: 5), Product(2, 9, 7, batch: 3), Product(1, 1, 1, batch: 2)] {
      for product in product.everyTranspose { product.kernelCase.check() }
    }
  }

  /// Each epilogue straight from a and b, in one run of k, in several, and in several packed at different times.
  @Test(arguments: [(5, 33, 20), (19, 35, 20), (17, 19, 260), (17, 17, 1030), (3, 9, 0)])
  func epilogues(m: Int, n: Int, k: Int) {
    let plain = Product(m, n, k, batch: k > 256 ? nil : 2).with { $0.alpha = 0.75 }
    for activation in [KILN_ACT_NONE, KILN_ACT_RELU, KILN_ACT_GELU_TANH, KILN_ACT_GELU_ERF, KILN_ACT_SILU] {
      for bits in 0..<16 where activation == KILN_ACT_SILU || activation == KILN_ACT_NONE || bits == 15 {
        let product = plain.with {
          $0.activation = activation
          ($0.accumulate, $0.bias) = (bits & 1 > 0, bits & 2 > 0)
          ($0.residual, $0.preactivation) = (bits & 4 > 0, bits & 8 > 0)
          $0.wide = bits % 3 == 0
        }
        if k == 0 && (bits & 7 == 0 || bits & 10 == 8) { continue }  // all zeros: covered by `emptyInnerDimension`
        product.kernelCase.check()
      }
    }
  }

  @Test(arguments: [(5, 33, 20), (19, 35, 20), (17, 19, 1030)])
  func gradientsOfActivations(m: Int, n: Int, k: Int) {
    for activation in [KILN_ACT_NONE, KILN_ACT_RELU, KILN_ACT_GELU_TANH, KILN_ACT_GELU_ERF, KILN_ACT_SILU] {
      for bits in 0..<4 {
        Product(m, n, k).with {
          ($0.activation, $0.gradientAt, $0.alpha) = (activation, true, 0.75)
          ($0.accumulate, $0.residual, $0.wide) = (bits & 1 > 0, bits & 2 > 0, bits == 3)
        }.kernelCase.check()
      }
    }
  }

  /// For few and many rows, one and several runs of k and panels of a, each operand the larger one.
  @Test(arguments: [(1, 33, 20), (19, 5, 31), (17, 19, 1700), (29, 3100, 9), (70, 40, 8), (13, 8, 0)])
  func gradientsOfBiases(m: Int, n: Int, k: Int) {
    for product in Product(m, n, k).everyTranspose where n < 100 || product.transposeA && !product.transposeB {
      for accumulate in k == 0 ? [true] : [false, true] {
        let summing = product.with { ($0.biasGradient, $0.accumulate, $0.alpha) = (true, accumulate, 0.75) }
        summing.kernelCase.check()
        summing.with { $0.biasGradientOfB = true }.kernelCase.check()
      }
    }
  }

  @Test func residualInPlace() {
    for product in [Product(5, 20, 30), Product(20, 20, 600)] {
      for activation in [KILN_ACT_NONE, KILN_ACT_SILU] {
        var operation = product.kernelCase
        operation.outputs[0].initial = pseudoRandom(product.m * product.n, seed: 6)
        operation.call = { context, outputs, inputs in
          withPointers(outputs + inputs) { p in
            var o = product.options
            o.activation = activation
            o.residual = p[0]
            return kiln_gemm(context, p[0], p[1], p[2], &o)
          }
        }
        operation.check()
      }
    }
  }

  @Test func emptyInnerDimension() {
    for tensor in Product(5, 20, 0).kernelCase.run(TestContext(), KILN_F32) {
      #expect(tensor.values == [Double](repeating: 0, count: 100))
    }
    for product in [Product(0, 20, 5), Product(20, 0, 5), Product(20, 20, 5, batch: 0)] {
      _ = product.kernelCase.run(TestContext(), KILN_F32)
    }
  }

  /// Every second element of each row, and a matrix that all of a batch share.
  @Test func anyStrides() {
    for (m, n, k) in [(5, 18, 70), (20, 18, 70)] {
      for product in Product(m, n, k).everyTranspose {
        var operation = product.kernelCase
        operation.inputs[0] = .real([product.shapeA[0], 2 * product.shapeA[1]], seed: 1)
        operation.inputs[1] = .real([product.shapeB[0], 2 * product.shapeB[1]], seed: 2)
        operation.call = { context, outputs, inputs in
          let views = inputs.map { input in
            var view = input
            view.shape.1 /= 2
            view.strides.1 = 2
            return view
          }
          return product.kernelCase.call(context, outputs, views)
        }
        operation.check()
      }
      let product = Product(m, n, k, batch: 3)
      var operation = product.kernelCase
      operation.inputs[1] = .real([1, k, n], seed: 2)
      operation.call = { context, outputs, inputs in
        var shared = inputs[1]
        shared.shape.0 = 3
        shared.strides.0 = 0
        return product.kernelCase.call(context, outputs, [inputs[0], shared])
      }
      operation.check()
    }
  }

  @Test func notANumberSpreads() {
    for isa in TestContext.availableISAs {
      for product in [Product(5, 40, 30), Product(20, 40, 30)] {
        for product in product.everyTranspose {
          var operation = product.with { $0.activation = KILN_ACT_RELU }.kernelCase
          operation.inputs[0].values[product.transposeA ? 7 * product.m + 2 : 2 * product.k + 7] = .nan
          let values = operation.run(TestContext(isa: isa), KILN_F32)[0].values
          for (index, value) in values.enumerated() {
            #expect(value.isNaN == (index / product.n == 2), "\(operation.name), isa \(isa.rawValue), element \(index)")
          }
        }
      }
    }
  }

  /// dA = alpha dC B^T, dB = alpha A^T dC, dbias = the sums of dC's columns: the products that training makes of one.
  @Test func gradients() {
    let forward = Product(7, 9, 11).with { ($0.bias, $0.alpha) = (true, 0.5) }
    let a = forward.kernelCase.inputs[0]
    let b = forward.kernelCase.inputs[1]
    forward.kernelCase.checkGradient(wrt: [0, 1, 2]) { upstream, _ in
      KernelCase(
        "gemm backward", inputs: [upstream, a, b],
        outputs: [.init(forward.shapeA), .init(forward.shapeB), .init([forward.n])]
      ) { context, outputs, inputs in
        withPointers(outputs + inputs) { p in
          var toA = Product(7, 11, 9).with { ($0.transposeB, $0.alpha) = (true, 0.5) }.options
          var toB = Product(11, 9, 7).with { ($0.transposeA, $0.alpha) = (true, 0.5) }.options
          let status = [
            kiln_gemm(context, p[0], p[3], p[5], &toA), kiln_gemm(context, p[1], p[4], p[3], &toB),
            kiln_bias_bwd(context, p[2], p[3], nil),
          ]
          return status.first { $0 != KILN_OK } ?? KILN_OK
        }
      }
    }
  }

  /// Y = act(P) W^T + bias: one product gives dP, one dW and dbias.
  @Test func gradientsOfALayer() {
    let (t, n, c) = (7, 9, 11)
    for activation in [KILN_ACT_GELU_TANH, KILN_ACT_GELU_ERF, KILN_ACT_SILU] {
      let p = KernelCase.Operand.real([t, c], seed: 1, scale: 2)
      let w = KernelCase.Operand.real([n, c], seed: 2)
      func activated(_ context: OpaquePointer, _ y: UnsafePointer<kiln_tensor>, _ x: UnsafePointer<kiln_tensor>) {
        var options = kiln_activation_defaults()
        options.kind = activation
        #expect(kiln_activation_fwd(context, y, x, &options) == KILN_OK)
      }
      let forward = KernelCase(
        "layer", inputs: [p, w, .real([n], seed: 3)], outputs: [.init([t, n]), .init([t, c])]
      ) { context, outputs, inputs in
        withPointers(outputs + inputs) { v in
          activated(context, v[1], v[2])
          var options = Product(t, n, c).with { $0.transposeB = true }.options
          options.bias = v[4]
          return kiln_gemm(context, v[0], v[1], v[3], &options)
        }
      }
      forward.checkGradient(wrt: [0, 1, 2]) { upstream, values in
        KernelCase(
          "layer backward", inputs: [upstream, p, w, .real([t, c], values[1])],
          outputs: [.init([t, c]), .init([n, c]), .init([n])]
        ) { context, outputs, inputs in
          withPointers(outputs + inputs) { v in
            var toP = Product(t, c, n).with { $0.activation = activation }.options
            toP.gradient_at = v[4]
            var toW = Product(n, c, t).with { $0.transposeA = true }.options
            toW.bias_gradient = v[2]
            let status = kiln_gemm(context, v[0], v[3], v[5], &toP)
            return status == KILN_OK ? kiln_gemm(context, v[1], v[3], v[6], &toW) : status
          }
        }
      }
    }
  }

  @Test func biasGradient() {
    for (rows, n) in [([3, 5], 17), ([300], 131), ([1], 1)] {
      for accumulate in [false, true] {
        var operation = KernelCase(
          "bias_bwd \(rows) \(n) accumulate \(accumulate)", inputs: [.real(rows + [n])],
          outputs: [.init([n], initial: accumulate ? pseudoRandom(n, seed: 2) : nil, wide: true)]
        ) { context, outputs, inputs in
          withPointers(outputs + inputs) { p in
            var options = kiln_bias_defaults()
            options.accumulate = accumulate ? 1 : 0
            return kiln_bias_bwd(context, p[0], p[1], &options)
          }
        }
        operation.hasNarrow = false
        operation.check()
      }
    }
  }

  @Test func workspaceIsExact() {
    for accumulate in [false, true] {
      let product = Product(40, 50, 600).with { ($0.accumulate, $0.activation) = (accumulate, KILN_ACT_SILU) }
      let context = TestContext()
      kiln_context_set_query(context.handle, true)
      let unallocated = [product.shapeC, product.shapeA, product.shapeB].map { shape in
        kiln_tensor_dense(nil, KILN_F32, 2, shape.map(Int64.init))
      }
      #expect(product.kernelCase.call(context.handle, [unallocated[0]], [unallocated[1], unallocated[2]]) == KILN_OK)
      let bytes = kiln_context_workspace_peak(context.handle)
      #expect(bytes > 0)
      kiln_context_set_query(context.handle, false)
      kiln_context_reset_workspace_peak(context.handle)
      let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
      defer { memory.deallocate() }
      #expect(kiln_context_set_workspace(context.handle, memory, bytes) == KILN_OK)
      _ = product.kernelCase.run(context, KILN_F32)
      #expect(kiln_context_workspace_peak(context.handle) == bytes)
      #expect(kiln_context_set_workspace(context.handle, memory, bytes - 64) == KILN_OK)
      let tensors = [product.shapeC, product.shapeA, product.shapeB].map {
        TestTensor($0, values: [Double](repeating: 0.5, count: $0.reduce(1, *)))
      }
      let views = tensors.map(\.view)
      #expect(product.kernelCase.call(context.handle, [views[0]], [views[1], views[2]]) == KILN_ERR_WORKSPACE)
      #expect(tensors[0].values.allSatisfy { $0 == 0.5 }, "c was written although the call failed")
      #expect(kiln_context_set_workspace(context.handle, nil, 0) == KILN_OK)
    }
  }

  @Test func refusesWhatDoesNotFit() {
    var bad = Product(4, 5, 6).kernelCase
    bad.inputs[1] = .real([7, 5])
    bad.expectFailure(KILN_ERR_SHAPE, "inner dimensions differ: a is [4, 6], b is [7, 5]")
    bad = Product(4, 5, 6).with { $0.transposeB = true }.kernelCase
    bad.inputs[1] = .real([6, 5])
    bad.expectFailure(KILN_ERR_SHAPE, "b is [6, 5] transposed")
    bad = Product(4, 5, 6).kernelCase
    bad.outputs[0] = .init([4, 6])
    bad.expectFailure(KILN_ERR_SHAPE, "c is [4, 6]")
    bad = Product(4, 5, 6, batch: 2).kernelCase
    bad.inputs[0] = .real([3, 4, 6])
    bad.expectFailure(KILN_ERR_SHAPE, "c is [2, 4, 5]")
    bad.inputs[0] = .real([4, 6])
    bad.expectFailure(KILN_ERR_SHAPE, "a, [4, 6]")
    bad.inputs[0] = .real([6])
    bad.expectFailure(KILN_ERR_SHAPE, "a is [6], neither a matrix nor a batch of matrices")
    bad = Product(4, 5, 6).with { ($0.bias, $0.residual) = (true, true) }.kernelCase
    bad.inputs[2] = .real([4])
    bad.expectFailure(KILN_ERR_SHAPE, "bias is [4], not [5]")
    bad.inputs[2] = .real([5])
    bad.inputs[3] = .real([5, 4])
    bad.expectFailure(KILN_ERR_SHAPE, "residual is [5, 4], c is [4, 5]")
    bad = Product(4, 5, 6).with { $0.gradientAt = true }.kernelCase
    bad.inputs[2] = .real([5, 4])
    bad.expectFailure(KILN_ERR_SHAPE, "gradient_at is [5, 4], c is [4, 5]")
    bad = Product(4, 5, 6).with { $0.biasGradient = true }.kernelCase
    bad.outputs[1] = .init([5])
    bad.expectFailure(KILN_ERR_SHAPE, "bias_gradient is [5], not [4]")
    Product(4, 5, 6, batch: 2).with { $0.biasGradient = true }.kernelCase
      .expectFailure(KILN_ERR_SHAPE, "bias_gradient is for one matrix")
    Product(4, 5, 6).with { $0.activation = kiln_activation(rawValue: 9) }.kernelCase
      .expectFailure(KILN_ERR_OPTION, "unknown activation 9")
    bad = Product(4, 5, 6).kernelCase
    bad.inputs[1] = .integers([6, 5], [Int](repeating: 1, count: 30))
    bad.expectFailure(KILN_ERR_DTYPE, "b is i32, not f32")
    bad = Product(4, 5, 6).kernelCase
    bad.outputs[0].isDouble = true
    bad.expectFailure(KILN_ERR_DTYPE, "c is f64, not f32")
  }

  @Test func refusesLayoutsOfC() {
    for (stride, message) in [((5, 2), "c has stride 2"), ((4, 1), "the rows of c overlap")] {
      var bad = Product(4, 5, 6).kernelCase
      bad.outputs[0] = .init([8, 5])
      bad.call = { context, outputs, inputs in
        var c = outputs[0]
        c.shape.0 = 4
        c.strides.0 = Int64(stride.0)
        c.strides.1 = Int64(stride.1)
        return Product(4, 5, 6).kernelCase.call(context, [c], inputs)
      }
      bad.expectFailure(KILN_ERR_STRIDE, message)
    }
  }

  @Test func refusesBadBiasGradients() {
    let operation = KernelCase("bias_bwd", inputs: [.real([4, 5])], outputs: [.init([4])]) { context, outputs, inputs in
      withPointers(outputs + inputs) { kiln_bias_bwd(context, $0[0], $0[1], nil) }
    }
    operation.expectFailure(KILN_ERR_SHAPE, "dbias is [4], not [5]")
  }
}
