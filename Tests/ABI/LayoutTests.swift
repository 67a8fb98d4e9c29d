import CKernels
import Testing

/// Sizes, offsets and numbers that a compiled caller has built in: none may ever change. New fields come at the end of
/// an options struct, new constants get new numbers; then a line is added here.
struct LayoutTests {
  func pin<T>(_ type: T.Type, size: Int, _ fields: [(PartialKeyPath<T>, Int)]) {
    #expect(MemoryLayout<T>.size == size, "\(type)")
    for (field, offset) in fields { #expect(MemoryLayout<T>.offset(of: field) == offset, "\(field)") }
  }

  @Test func tensorsAndContexts() {
    pin(
      kiln_tensor.self, size: 120,
      [
        (\.data, 0), (\.offset, 8), (\.dtype, 16), (\.rank, 20), (\.shape, 24), (\.strides, 72),
      ])
    pin(
      kiln_context_options.self, size: 40,
      [
        (\.size, 0), (\.device, 4), (\.isa, 8), (\.threads, 12), (\.gemm, 16), (\.device_index, 20), (\.cache, 24),
        (\.tile, 32),
      ])
    pin(
      kiln_opencl_info.self, size: 416,
      [
        (\.size, 0), (\.is_cpu, 4), (\.compute_units, 8), (\.memory, 16), (\.largest_allocation, 24), (\.name, 32),
        (\.platform, 160), (\.version, 288), (\.driver, 352),
      ])
    pin(kiln_kernel_time.self, size: 48, [(\.name, 0), (\.launches, 32), (\.seconds, 40)])
    #expect(KILN_MAX_RANK == 6)
  }

  @Test func optionsOfOperations() {
    pin(kiln_activation_options.self, size: 8, [(\.size, 0), (\.kind, 4)])
    pin(
      kiln_dropout_options.self, size: 32, [(\.size, 0), (\.probability, 4), (\.seed, 8), (\.step, 16), (\.site, 24)])
    pin(
      kiln_attention_options.self, size: 32,
      [(\.size, 0), (\.causal, 4), (\.scale, 8), (\.window, 16), (\.offsets, 24)])
    pin(kiln_attention_saved.self, size: 40, [(\.q, 0), (\.k, 8), (\.v, 16), (\.o, 24), (\.lse, 32)])
    pin(kiln_embedding_options.self, size: 8, [(\.size, 0), (\.accumulate, 4)])
    pin(
      kiln_gemm_options.self, size: 104,
      [
        (\.size, 0), (\.transpose_a, 4), (\.transpose_b, 8), (\.accumulate, 12), (\.activation, 16), (\.alpha, 20),
        (\.bias, 24), (\.residual, 32), (\.preactivation, 40), (\.gradient_at, 48), (\.bias_gradient, 56),
        (\.bias_gradient_of_b, 64), (\.a_scales, 72), (\.b_scales, 80),
        (\.b_blocks, 88), (\.b_sparse, 96),
      ])
    pin(
      kiln_sparse.self, size: 56,
      [
        (\.size, 0), (\.kept, 4), (\.group, 8), (\.block_rows, 12), (\.block_cols, 16), (\.rows, 24), (\.cols, 32),
        (\.offsets, 40), (\.columns, 48),
      ])
    pin(kiln_sparse_gradient_options.self, size: 8, [(\.size, 0), (\.accumulate, 4)])
    pin(kiln_bias_options.self, size: 8, [(\.size, 0), (\.accumulate, 4)])
    pin(
      kiln_cross_entropy_options.self, size: 24,
      [
        (\.size, 0), (\.ignore, 4), (\.scale, 8), (\.accumulate_dw, 12), (\.losses, 16),
      ])
    pin(
      kiln_norm_options.self, size: 16,
      [
        (\.size, 0), (\.eps, 4), (\.accumulate_dx, 8), (\.accumulate_params, 12),
      ])
    pin(kiln_random_options.self, size: 24, [(\.size, 0), (\.site, 4), (\.seed, 8), (\.step, 16)])
    pin(
      kiln_rope_options.self, size: 48,
      [
        (\.size, 0), (\.scaling, 4), (\.base, 8), (\.factor, 16), (\.low_freq_factor, 24), (\.high_freq_factor, 32),
        (\.original_context, 40),
      ])
    pinUpdates()
  }

  func pinUpdates() {
    pin(
      kiln_state_options.self, size: 56,
      [(\.scales, 0), (\.stochastic, 16), (\.site, 20), (\.seed, 24), (\.step, 32), (\.remainder, 40), (\.linear, 48)])
    pin(
      kiln_sgd_options.self, size: 136,
      [
        (\.size, 0), (\.nesterov, 4), (\.lr, 8), (\.momentum, 16), (\.weight_decay, 24), (\.grad_scale, 32),
        (\.l1, 40), (\.group, 48), (\.low, 56), (\.high, 64), (\.box, 72), (\.heavy_ball, 76), (\.states, 80),
      ])
    pin(
      kiln_adam_options.self, size: 120,
      [
        (\.size, 0), (\.decoupled, 4), (\.step, 8), (\.lr, 16), (\.beta1, 24), (\.beta2, 32), (\.eps, 40),
        (\.weight_decay, 48), (\.grad_scale, 56), (\.states, 64),
      ])
    pin(
      kiln_lion_options.self, size: 104,
      [
        (\.size, 0), (\.lr, 8), (\.beta1, 16), (\.beta2, 24), (\.weight_decay, 32), (\.grad_scale, 40),
        (\.states, 48),
      ])
    pin(
      kiln_schedule_free_options.self, size: 72,
      [
        (\.size, 0), (\.step, 8), (\.lr, 16), (\.share, 24), (\.beta1, 32), (\.beta2, 40), (\.eps, 48),
        (\.weight_decay, 56), (\.grad_scale, 64),
      ])
    pin(
      kiln_lars_options.self, size: 112,
      [
        (\.size, 0), (\.nesterov, 4), (\.lr, 8), (\.momentum, 16), (\.weight_decay, 24), (\.trust, 32), (\.eps, 40),
        (\.grad_scale, 48), (\.states, 56),
      ])
    pin(
      kiln_lamb_options.self, size: 128,
      [
        (\.size, 0), (\.adapt, 4), (\.step, 8), (\.lr, 16), (\.beta1, 24), (\.beta2, 32), (\.eps, 40),
        (\.weight_decay, 48), (\.grad_scale, 56), (\.clip_trust, 64), (\.states, 72),
      ])
    pin(
      kiln_adafactor_options.self, size: 80,
      [
        (\.size, 0), (\.relative_step, 4), (\.step, 8), (\.lr, 16), (\.decay_rate, 24), (\.eps1, 32), (\.eps2, 40),
        (\.clip, 48), (\.weight_decay, 56), (\.grad_scale, 64), (\.scale_parameter, 72),
      ])
    pin(
      kiln_muon_options.self, size: 112,
      [
        (\.size, 0), (\.nesterov, 4), (\.lr, 8), (\.momentum, 16), (\.weight_decay, 24), (\.grad_scale, 32),
        (\.match_rms, 40), (\.parts, 44), (\.split_columns, 48), (\.states, 56),
      ])
  }

  @Test func numbers() {
    let statuses: [(kiln_status, UInt32, String)] = [
      (KILN_OK, 0, "KILN_OK"), (KILN_ERR_NULL, 10, "KILN_ERR_NULL"), (KILN_ERR_OPTION, 11, "KILN_ERR_OPTION"),
      (KILN_ERR_SHAPE, 12, "KILN_ERR_SHAPE"), (KILN_ERR_STRIDE, 13, "KILN_ERR_STRIDE"),
      (KILN_ERR_DTYPE, 14, "KILN_ERR_DTYPE"), (KILN_ERR_INDEX, 15, "KILN_ERR_INDEX"),
      (KILN_ERR_OVERFLOW, 16, "KILN_ERR_OVERFLOW"), (KILN_ERR_MEMORY, 30, "KILN_ERR_MEMORY"),
      (KILN_ERR_WORKSPACE, 31, "KILN_ERR_WORKSPACE"), (KILN_ERR_ISA, 50, "KILN_ERR_ISA"),
      (KILN_ERR_DEVICE, 51, "KILN_ERR_DEVICE"), (KILN_ERR_LIBRARY, 52, "KILN_ERR_LIBRARY"),
    ]
    for (status, number, name) in statuses {
      #expect(status.rawValue == number)
      #expect(String(cString: kiln_status_name(status)) == name)
    }
    let dtypes: [(kiln_dtype, String, Int)] = [
      (KILN_F32, "f32", 4), (KILN_F64, "f64", 8), (KILN_F16, "f16", 2), (KILN_BF16, "bf16", 2), (KILN_I32, "i32", 4),
      (KILN_I64, "i64", 8), (KILN_U8, "u8", 1), (KILN_I8, "i8", 1), (KILN_F8_E4M3, "f8_e4m3", 1),
      (KILN_F8_E5M2, "f8_e5m2", 1),
    ]
    for (number, (dtype, name, size)) in dtypes.enumerated() {
      #expect(dtype.rawValue == number)
      #expect(String(cString: kiln_dtype_name(dtype)) == name)
      #expect(kiln_dtype_size(dtype) == size)
    }
    let activations = [KILN_ACT_NONE, KILN_ACT_RELU, KILN_ACT_GELU_TANH, KILN_ACT_GELU_ERF, KILN_ACT_SILU]
    #expect(activations.map(\.rawValue) == [0, 1, 2, 3, 4])
    let scalings = [KILN_ROPE_DEFAULT, KILN_ROPE_LINEAR, KILN_ROPE_LLAMA3]
    #expect(scalings.map(\.rawValue) == [0, 1, 2])
    #expect([KILN_ROUND_NEAREST, KILN_ROUND_STOCHASTIC].map(\.rawValue) == [0, 1])
    #expect([KILN_Q4_0, KILN_Q4_1, KILN_Q8_0, KILN_NF4].map(\.rawValue) == [2, 3, 8, 256])
    #expect([KILN_DEVICE_CPU, KILN_DEVICE_REF, KILN_DEVICE_OPENCL].map(\.rawValue) == [0, 1, 2])
    let isas = [
      KILN_ISA_BEST, KILN_ISA_SCALAR, KILN_ISA_AVX2, KILN_ISA_AVX512, KILN_ISA_AVX512_BF16, KILN_ISA_AMX, KILN_ISA_NEON,
      KILN_ISA_AVX512_VNNI,
    ]
    #expect(isas.map(\.rawValue) == [0, 1, 10, 20, 21, 22, 40, 23])
    #expect([KILN_GEMM_DEFAULT, KILN_GEMM_KILN, KILN_GEMM_OPENBLAS].map(\.rawValue) == [0, 1, 2])
  }

  /// The first field of every default is the size of its struct, which is how the library knows the caller's version.
  @Test func defaultsCarryTheirSize() {
    #expect(kiln_context_defaults().size == 40)
    #expect(kiln_activation_defaults().size == 8)
    #expect(kiln_dropout_defaults().size == 32)
    #expect(kiln_attention_defaults().size == 32)
    #expect(kiln_embedding_defaults().size == 8)
    #expect(kiln_gemm_defaults().size == 104)
    #expect(kiln_bias_defaults().size == 8)
    #expect(kiln_cross_entropy_defaults().size == 24)
    #expect(kiln_norm_defaults().size == 16)
    #expect(kiln_random_defaults().size == 24)
    #expect(kiln_rounding_defaults().size == 32)
    #expect(kiln_rope_defaults().size == 48)
    #expect(kiln_sgd_defaults().size == 136)
    #expect(kiln_adam_defaults().size == 120)
    #expect(kiln_lion_defaults().size == 104)
    #expect(kiln_schedule_free_defaults().size == 72)
    #expect(kiln_lars_defaults().size == 112)
    #expect(kiln_lamb_defaults().size == 128)
    #expect(kiln_adafactor_defaults().size == 80)
    #expect(kiln_muon_defaults().size == 112)
  }

  /// A caller compiled against an older header knows fewer fields: those that it does not know keep their defaults.
  @Test func olderCallersGetDefaults() throws {
    var handle: OpaquePointer?
    try #require(kiln_context_create(&handle, nil) == KILN_OK)
    defer { kiln_context_free(handle) }
    var options = kiln_sgd_defaults()
    options.size = 16  // up to and with lr
    options.lr = 0.25
    options.momentum = .nan
    var weight: Float = 1
    var gradient: Float = 1
    let status = withUnsafeMutablePointer(to: &weight) { w in
      withUnsafeMutablePointer(to: &gradient) { g in
        var views = [kiln_tensor_dense(w, KILN_F32, 0, nil), kiln_tensor_dense(g, KILN_F32, 0, nil)]
        return kiln_sgd(handle, &views[0], nil, &views[1], &options)
      }
    }
    #expect(status == KILN_OK)
    #expect(weight == 0.75)
  }
}
