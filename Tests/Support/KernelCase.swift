import CKernels
import Testing

/// A context for tests; ended with the object.
public final class TestContext {
  public let handle: OpaquePointer

  public init(
    device: kiln_device = KILN_DEVICE_CPU, isa: kiln_isa = KILN_ISA_BEST, threads: Int = 1,
    gemm: kiln_gemm_provider = KILN_GEMM_DEFAULT, cache: String? = nil, tile: String? = nil
  ) {
    var options = kiln_context_defaults()
    options.device = device
    options.isa = isa
    options.threads = Int32(threads)
    options.gemm = gemm
    var handle: OpaquePointer?
    let status = (cache ?? "").withCString { folder in
      if cache != nil { options.cache = folder }
      return (tile ?? "").withCString { name in
        if tile != nil { options.tile = name }
        return kiln_context_create(&handle, &options)
      }
    }
    guard status == KILN_OK, let handle else { fatalError(String(cString: kiln_last_error(nil))) }
    self.handle = handle
  }

  deinit { kiln_context_free(handle) }

  public var lastError: String { String(cString: kiln_last_error(handle)) }

  /// Whether there is an OpenCL device for `TestContext(device: KILN_DEVICE_OPENCL)`.
  public static let hasOpenCL: Bool = {
    var count: Int32 = 0
    return kiln_opencl_count(&count) == KILN_OK && count > 0
  }()

  private var hasOwnMemory: Bool { !String(cString: kiln_context_tile(handle)).isEmpty }

  /// Calls with dense views, whose bytes go to the context's device and back where it has one.
  public func calling(
    _ views: [kiln_tensor], _ body: ([UnsafePointer<kiln_tensor>]) -> kiln_status
  ) -> kiln_status {
    guard hasOwnMemory else { return withPointers(views, body) }
    let runs = views.map { view in
      let size = withUnsafeBytes(of: view.shape) { raw in
        raw.bindMemory(to: Int64.self).prefix(Int(view.rank)).reduce(kiln_dtype_size(view.dtype)) { $0 * Int($1) }
      }
      return UnsafeMutableRawBufferPointer(start: view.data + Int(view.offset), count: size)
    }
    return placing(runs) { places in
      let placed = zip(views, places).map { view, place in
        var view = view
        (view.data, view.offset) = (place, 0)
        return view
      }
      return withPointers(placed, body)
    }
  }

  /// Calls with views of tensors in the memory of the context's device, whose bytes go there and back.
  public func call(_ tensors: [TestTensor], _ body: ([kiln_tensor]) -> kiln_status) -> kiln_status {
    guard hasOwnMemory else { return body(tensors.map(\.view)) }
    return placing(tensors.map(\.bytes)) { places in body(zip(tensors, places).map { $0.view(at: $1) }) }
  }

  /// Runs of bytes in the device's memory, which come back unless the call fails.
  private func placing(
    _ runs: [UnsafeMutableRawBufferPointer], _ body: ([UnsafeMutableRawPointer]) -> kiln_status
  ) -> kiln_status {
    var places: [UnsafeMutableRawPointer] = []
    defer { for place in places { kiln_device_free(handle, place) } }
    for run in runs {
      var place: UnsafeMutableRawPointer?
      guard kiln_device_alloc(handle, max(run.count, 1), &place) == KILN_OK, let place else { return KILN_ERR_MEMORY }
      places.append(place)
      kiln_device_write(handle, place, run.baseAddress, run.count)
    }
    var status = body(places)
    for (run, place) in zip(runs, places) where status == KILN_OK {
      status = kiln_device_read(handle, run.baseAddress, place, run.count)
    }
    return status
  }

  /// The instruction sets of this machine and build.
  public static var availableISAs: [kiln_isa] {
    [
      KILN_ISA_SCALAR, KILN_ISA_AVX2, KILN_ISA_AVX512, KILN_ISA_AVX512_VNNI, KILN_ISA_AVX512_BF16, KILN_ISA_AMX,
      KILN_ISA_NEON,
    ]
    .filter { kiln_isa_available($0) }
  }
}

/// One operation on given data, declared once and used for every check: each instruction set, layout and thread count
/// against the reference loops in fp64, and its gradient against finite differences.
///
/// `call` gets views in the order of `outputs` and `inputs`. An output that starts with values (`initial`) is one that
/// the operation reads: accumulated into, or updated in place.
public struct KernelCase {
  public struct Operand {
    public var shape: [Int]
    public var values: [Double]
    public var isInteger = false
    public var isWide = false  // fp32 where the others are narrow
    public var fixedLayout = false  // dense in every run

    /// Floating-point data; without values, pseudo-random numbers.
    public static func real(
      _ shape: [Int], _ values: [Double]? = nil, seed: UInt64 = 1, scale: Double = 1, dense: Bool = false,
      wide: Bool = false
    ) -> Operand {
      let count = shape.reduce(1, *)
      let data = values ?? pseudoRandom(count, seed: seed &+ UInt64(count)).map { Double(Float($0 * scale)) }
      return Operand(shape: shape, values: data, isWide: wide, fixedLayout: dense || shape.count < 2)
    }

    public static func integers(_ shape: [Int], _ values: [Int]) -> Operand {
      Operand(shape: shape, values: values.map(Double.init), isInteger: true, fixedLayout: true)
    }
  }

  public struct Output {
    public var shape: [Int]
    public var initial: [Double]?
    public var fixedLayout: Bool
    public var isDouble: Bool
    public var isWide: Bool  // fp32 where the others are narrow

    public init(
      _ shape: [Int], initial: [Double]? = nil, dense: Bool = false, isDouble: Bool = false, wide: Bool = false
    ) {
      self.shape = shape
      self.initial = initial
      self.fixedLayout = dense || shape.count < 2
      self.isDouble = isDouble
      self.isWide = wide
    }
  }

  public typealias Call = (_ context: OpaquePointer, _ outputs: [kiln_tensor], _ inputs: [kiln_tensor]) -> kiln_status

  public var name: String
  public var inputs: [Operand]
  public var outputs: [Output]
  public var call: Call
  /// Whether the operation takes bf16 and f16.
  public var hasNarrow = true

  /// Functions that have kernels for OpenCL devices: what names of cases begin with.
  public static let onOpenCL: Set<Substring> = [
    "add", "sum_squares", "bias_bwd", "layer_norm_fwd", "layer_norm_bwd", "rms_norm_fwd", "rms_norm_bwd",
    "activation_fwd", "activation_bwd", "swiglu_fwd", "swiglu_bwd", "dropout", "gemm", "embedding_fwd",
    "embedding_bwd", "rope_fwd", "rope_bwd", "cross_entropy", "linear_cross_entropy", "attention_fwd", "attention_bwd",
    "adam", "lion", "sgd", "lamb", "lars", "adafactor", "muon", "schedule_free", "schedule_free_average",
    "extrapolate",
  ]

  public init(_ name: String, inputs: [Operand], outputs: [Output], call: @escaping Call) {
    self.name = name
    self.inputs = inputs
    self.outputs = outputs
    self.call = call
  }

  /// Runs once; the outputs.
  public func run(_ context: TestContext, _ dtype: kiln_dtype, _ layout: Layout = .dense) -> [TestTensor] {
    let ins = inputs.map {
      TestTensor(
        $0.shape, $0.isInteger ? KILN_I32 : $0.isWide ? wide(dtype) : dtype,
        layout: $0.fixedLayout && layout == .strided ? .misaligned : layout,
        values: $0.values)
    }
    let outs = outputs.map {
      TestTensor(
        $0.shape, $0.isDouble ? KILN_F64 : $0.isWide ? wide(dtype) : dtype,
        layout: $0.fixedLayout && layout == .strided ? .misaligned : layout,
        values: $0.initial)
    }
    var message = ""
    let status = context.call(outs + ins) { views in
      let status = call(context.handle, Array(views[..<outs.count]), Array(views[outs.count...]))
      message = context.lastError
      return status
    }
    #expect(status == KILN_OK, "\(name): \(message)")
    for tensor in outs + ins { #expect(tensor.guardsIntact, "\(name): wrote outside its views (\(layout))") }
    return outs
  }

  /// Every instruction set and layout against the reference in fp64: the error is at most twice that of the plain loops
  /// in fp32, or `ulps` roundings of the largest element; the same bits for 1, 2, 3 and 7 threads. Then the same in
  /// each narrow type, whose results may differ by one rounding to it more, and by `narrowUlps` roundings of the
  /// largest element where an intermediate is kept in it.
  public func check(ulps: Double = 8, narrowUlps: Double = 0) {
    let devices = devices
    checkWide(ulps: ulps, on: devices)
    for type in hasNarrow ? Narrow.all : [] {
      rounded(to: type).check(in: type, ulps: ulps, narrowUlps: narrowUlps, on: devices)
    }
  }

  private func checkWide(ulps: Double, on devices: [TestContext]) {
    let exact = run(TestContext(device: KILN_DEVICE_REF), KILN_F64).map(\.values)
    let plain = run(TestContext(device: KILN_DEVICE_REF), KILN_F32).map(\.values)
    for (index, values) in exact.enumerated() where !values.isEmpty {
      #expect(values.contains { $0 != 0 }, "\(name): output \(index) is all zeros, so the test says nothing")
      #expect(!values.contains { $0.isNaN }, "\(name): output \(index) of the reference is not a number")
    }
    for isa in TestContext.availableISAs {
      for layout in Layout.allCases {
        let results = run(TestContext(isa: isa), KILN_F32, layout)
        for index in outputs.indices {
          compare(
            results[index].values, plain[index], exact[index], ulps: ulps,
            "\(name), output \(index), isa \(isa.rawValue), \(layout)")
        }
        for threads in layout == .dense ? [2, 3, 7] : [] {
          let again = run(TestContext(isa: isa, threads: threads), KILN_F32, layout)
          #expect(zip(again, results).allSatisfy { $0.bits == $1.bits }, "\(name): other bits with \(threads) threads")
        }
      }
    }
    for device in devices {
      for layout in Layout.allCases {
        let results = run(device, KILN_F32, layout)
        for index in outputs.indices {
          compare(
            results[index].values, plain[index], exact[index], ulps: 2 * ulps,
            "\(name), output \(index), OpenCL, \(layout)")
        }
        let again = run(device, KILN_F32, layout)
        #expect(zip(again, results).allSatisfy { $0.bits == $1.bits }, "\(name): other bits on OpenCL the second time")
      }
    }
  }

  /// The OpenCL device, if there is one and kernels for it; where rows are shared in a group, as a GPU is used, too.
  private var devices: [TestContext] {
    guard let function = name.split(separator: " ").first, Self.onOpenCL.contains(function), TestContext.hasOpenCL
    else { return [] }
    let sharesRows = function.contains("norm") || function.contains("cross_entropy")
    return [nil, "32x32/8"].prefix(sharesRows ? 2 : 1).map { TestContext(device: KILN_DEVICE_OPENCL, tile: $0) }
  }

  private func check(in type: Narrow, ulps: Double, narrowUlps: Double, on devices: [TestContext]) {
    let exact = run(TestContext(device: KILN_DEVICE_REF), KILN_F64).map(\.values)
    let plain = run(TestContext(device: KILN_DEVICE_REF), KILN_F32).map(\.values)
    func check(_ results: [TestTensor], _ label: String) {
      for index in outputs.indices {
        compare(
          results[index].values, plain[index], exact[index], ulps: ulps,
          in: type, roundings: (outputs[index].isWide || outputs[index].isDouble ? 0 : 1, narrowUlps),
          "\(name) in \(type), output \(index), \(label)")
      }
    }
    check(run(TestContext(device: KILN_DEVICE_REF), type.dtype), "reference")
    for isa in TestContext.availableISAs {
      for layout in Layout.allCases {
        let results = run(TestContext(isa: isa), type.dtype, layout)
        check(results, "isa \(isa.rawValue), \(layout)")
        guard layout == .dense else { continue }
        let again = run(TestContext(isa: isa, threads: 3), type.dtype, layout)
        #expect(zip(again, results).allSatisfy { $0.bits == $1.bits }, "\(name): other bits in \(type) with 3 threads")
      }
    }
    for device in devices {
      for layout in Layout.allCases { check(run(device, type.dtype, layout), "OpenCL, \(layout)") }
    }
  }

  /// The same case on values that the type holds.
  private func rounded(to type: Narrow) -> KernelCase {
    var rounded = self
    for index in inputs.indices where !inputs[index].isInteger && !inputs[index].isWide {
      rounded.inputs[index].values = inputs[index].values.map(type.rounded)
    }
    for index in outputs.indices where !outputs[index].isDouble && !outputs[index].isWide {
      rounded.outputs[index].initial = outputs[index].initial?.map(type.rounded)
    }
    return rounded
  }

  /// For operations without freedom in their roundings: the same bits as the plain loops in fp32 and the narrow types,
  /// with several threads. Cheaper than `check`, so for shapes that are cut into several chunks.
  public func checkExact() {
    for dtype in [KILN_F32] + (hasNarrow ? Narrow.all.map(\.dtype) : []) {
      let plain = run(TestContext(device: KILN_DEVICE_REF), dtype)
      for isa in TestContext.availableISAs {
        for layout in [Layout.dense, .strided] {
          let fast = run(TestContext(isa: isa, threads: 3), dtype, layout)
          #expect(
            zip(fast, plain).allSatisfy { $0.bits == $1.bits },
            "\(name): not the reference's bits, dtype \(dtype.rawValue), isa \(isa.rawValue), \(layout)")
        }
      }
    }
  }

  /// - Parameter roundings: to the narrow type, of the element itself and of the largest one.
  private func compare(
    _ fast: [Double], _ plain: [Double], _ exact: [Double], ulps: Double, in type: Narrow = Narrow(KILN_BF16),
    roundings: (Double, Double) = (0, 0), _ label: String
  ) {
    let spacing = type.spacing
    var scale = 0.0
    var plainError = 0.0
    for index in exact.indices where exact[index].isFinite {
      scale = max(scale, abs(exact[index]))
      plainError = max(plainError, abs(plain[index] - exact[index]))
    }
    let base = max(2 * plainError, ulps * scale * 0x1p-24) + roundings.1 * scale * spacing.relative
    for index in exact.indices {
      let value = fast[index]
      let truth = exact[index]
      let tolerance = base + roundings.0 * max((abs(truth) + base) * spacing.relative, spacing.absolute)
      if truth.isFinite ? abs(value - truth) <= tolerance : value == truth { continue }
      Issue.record("\(label): element \(index) is \(value), not \(truth) (tolerance \(tolerance))")
      return
    }
  }

  /// Finite differences in fp64 through the reference: for the scalar L = sum of w * output, w fixed and random, `gradient`
  /// gets the outputs' weights as its upstream and returns dL/dinput for the inputs listed in `wrt`, in that order.
  public func checkGradient(
    of output: Int = 0, wrt: [Int], step: Double = 1e-5, tolerance: Double = 1e-6,
    gradient: (_ upstream: Operand, _ forward: [[Double]]) -> KernelCase
  ) {
    let reference = TestContext(device: KILN_DEVICE_REF)
    let weights = pseudoRandom(outputs[output].shape.reduce(1, *), seed: 99)
    func loss(_ varied: KernelCase) -> Double {
      zip(varied.run(reference, KILN_F64)[output].values, weights).reduce(0) { $0 + $1.0 * $1.1 }
    }
    let forward = run(reference, KILN_F64).map(\.values)
    let analytic = gradient(.real(outputs[output].shape, weights), forward).run(reference, KILN_F64)
    for (position, input) in wrt.enumerated() {
      let values = analytic[position].values
      let scale = max(values.map(abs).max() ?? 0, 1e-3)
      #expect(values.contains { $0 != 0 }, "\(name): the gradient of input \(input) is all zeros")
      let probes = Swift.stride(from: 0, to: values.count, by: max(1, values.count / 24))
      for element in probes {
        var plus = self
        var minus = self
        plus.inputs[input].values[element] += step
        minus.inputs[input].values[element] -= step
        let numeric = (loss(plus) - loss(minus)) / (2 * step)
        #expect(
          abs(numeric - values[element]) <= tolerance * scale * 10,
          "\(name): d/dinput\(input)[\(element)] is \(values[element]), by differences \(numeric)")
      }
    }
  }

  /// The call must fail with this status and a message that holds `text`.
  public func expectFailure(_ status: kiln_status, _ text: String) {
    let context = TestContext()
    let ins = inputs.map { TestTensor($0.shape, $0.isInteger ? KILN_I32 : KILN_F32, values: $0.values) }
    let outs = outputs.map { TestTensor($0.shape, $0.isDouble ? KILN_F64 : KILN_F32, values: $0.initial) }
    let got = call(context.handle, outs.map(\.view), ins.map(\.view))
    #expect(got == status, "\(name): \(String(cString: kiln_status_name(got))): \(context.lastError)")
    #expect(context.lastError.contains(text), "\(name): the message is '\(context.lastError)'")
  }
}

/// The type of vectors of parameters, sums and statistics beside tensors of `dtype`.
private func wide(_ dtype: kiln_dtype) -> kiln_dtype {
  dtype == KILN_BF16 || dtype == KILN_F16 ? KILN_F32 : dtype
}

/// Lengths around the lane counts 1, 4, 8 and 16, and long enough for every loop.
public let laneLengths = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 67, 131]

/// Calls `body` with pointers to the views: how the C functions take them.
public func withPointers<R>(_ views: [kiln_tensor], _ body: ([UnsafePointer<kiln_tensor>]) -> R) -> R {
  views.withUnsafeBufferPointer { buffer in body(views.indices.map { buffer.baseAddress! + $0 }) }
}
