import CKernels

/// Where kernels run: device, threads, instruction set and scratch memory. For one thread of the caller at a time.
public final class Context {
  public enum Device: Sendable, Hashable {
    /// The fastest kernels for this CPU.
    case cpu
    /// The plain reference loops.
    case ref
    /// An OpenCL device, by its place among `Context.openCLDevices`.
    case opencl(Int)
  }

  public let device: Device
  /// What an OpenCL device says of itself; nil for others.
  public let openCLDevice: OpenCLDevice?
  let handle: OpaquePointer
  private var workspace: Storage?
  /// Of a transfer in a call that cannot throw; thrown by the next one that can.
  private var failure: KilnError?

  /// - Parameters:
  ///   - threads: nil takes `KILN_THREADS`, else every CPU this process may run on.
  ///   - tile: of products on an OpenCL device, one of `openCLTiles`; nil takes what `kiln tune` has kept for it, else what
  ///     its class has.
  public init(device: Device = .cpu, threads: Int? = nil, tile: String? = nil) throws(KilnError) {
    var options = kiln_context_defaults()
    switch device {
    case .cpu: options.device = KILN_DEVICE_CPU
    case .ref: options.device = KILN_DEVICE_REF
    case .opencl(let index): (options.device, options.device_index) = (KILN_DEVICE_OPENCL, Int32(clamping: index))
    }
    if let threads {
      guard (1...1024).contains(threads) else {
        throw KilnError(.argument, "\(threads) threads", hint: "give a number from 1 to 1024")
      }
      options.threads = Int32(threads)
    }
    var created: OpaquePointer?
    let status = (tile ?? "").withCString { name in
      if tile != nil { options.tile = name }
      return kiln_context_create(&created, &options)
    }
    guard status == KILN_OK, let created else {
      throw KilnError(.argument, String(cString: kiln_last_error(nil)))
    }
    self.device = device
    openCLDevice = if case .opencl(let index) = device { Self.openCLDevice(Int32(clamping: index)) } else { nil }
    handle = created
  }

  deinit { kiln_context_free(handle) }

  /// Whether tensors must lie in the memory of a device.
  public var hasOwnMemory: Bool { openCLDevice != nil }

  public var threads: Int { Int(kiln_context_threads(handle)) }

  /// The kernels in use: "ref" or one of `availableISAs`.
  public var isa: String { String(cString: kiln_context_isa(handle)) }

  /// Who multiplies matrices: "kiln" or, by `KILN_GEMM`, "openblas".
  public var gemm: String { String(cString: kiln_context_gemm(handle)) }

  /// The tile in which an OpenCL device multiplies matrices; nil for other devices.
  public var tile: String? {
    let name = String(cString: kiln_context_tile(handle))
    return name.isEmpty ? nil : name
  }

  /// What the provider of products costs, to be said when a run starts; nil for Kiln's own.
  public var gemmNotice: String? {
    gemm == "kiln" ? nil : "by \(gemm): the last bits depend on the number of threads"
  }

  /// Names of the instruction sets that this CPU and build have, best first.
  public static var availableISAs: [String] {
    [
      (KILN_ISA_AMX, "amx"), (KILN_ISA_AVX512_BF16, "avx512_bf16"),
      (KILN_ISA_AVX512_VNNI, "avx512_vnni"), (KILN_ISA_AVX512, "avx512"),
      (KILN_ISA_AVX2, "avx2"), (KILN_ISA_NEON, "neon"), (KILN_ISA_SCALAR, "scalar"),
    ].filter { kiln_isa_available($0.0) }.map(\.1)
  }

  /// The most scratch that any call in `body` would need. The calls check their arguments and touch no data.
  public func measuringWorkspace(_ body: () throws(KilnError) -> Void) throws(KilnError) -> Int {
    kiln_context_reset_workspace_peak(handle)
    kiln_context_set_query(handle, true)
    defer { kiln_context_set_query(handle, false) }
    try body()
    return kiln_context_workspace_peak(handle)
  }

  /// Gives the kernels a fixed scratch memory; nil lets it grow on demand again.
  public func setWorkspace(_ storage: Storage?) throws(KilnError) {
    workspace = storage
    try check(kiln_context_set_workspace(handle, storage?.base, storage?.byteCount ?? 0))
  }

  /// Waits for what a device has been asked for; the host is done when a call returns.
  public func finish() throws(KilnError) {
    if hasOwnMemory { try check(kiln_device_finish(handle)) }
  }

  /// Turns a status into a thrown error: the one place where that happens.
  func check(_ status: kiln_status) throws(KilnError) {
    guard status != KILN_OK else { return try checkTransfers() }
    let kind: KilnError.Kind =
      switch status {
      case KILN_ERR_SHAPE, KILN_ERR_STRIDE, KILN_ERR_DTYPE, KILN_ERR_OVERFLOW: .shape
      case KILN_ERR_INDEX: .data
      case KILN_ERR_MEMORY, KILN_ERR_WORKSPACE: .memory
      default: .argument
      }
    let hint =
      hasOwnMemory && status == KILN_ERR_MEMORY
      ? "use a smaller batch, or --device-memory SIZE, by which what does not fit goes to the host" : nil
    throw KilnError(kind, String(cString: kiln_last_error(handle)), hint: hint)
  }

  /// Throws what went wrong in a transfer since the last call.
  func checkTransfers() throws(KilnError) {
    guard let failure else { return }
    self.failure = nil
    throw failure
  }

  /// The bytes of a dense tensor of the device; zeros where that fails.
  func read(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) {
    guard let storage = tensor.storage, bytes.count > 0 else { return }
    let status = kiln_device_read(handle, bytes.baseAddress, storage.base + tensor.byteOffset, bytes.count)
    guard status != KILN_OK else { return }
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    note(status)
  }

  func write(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) {
    guard let storage = tensor.storage, bytes.count > 0 else { return }
    let status = kiln_device_write(handle, storage.base + tensor.byteOffset, bytes.baseAddress, bytes.count)
    if status != KILN_OK { note(status) }
  }

  private func note(_ status: kiln_status) {
    do throws(KilnError) { try check(status) } catch { failure = failure ?? error }
  }

  /// Calls a kernel with views of the tensors, in their order; a missing tensor is NULL.
  func call(_ tensors: Tensor?..., kernel: ([UnsafePointer<kiln_tensor>?]) -> kiln_status) throws(KilnError) {
    if !hasOwnMemory, let device = tensors.lazy.compactMap({ $0?.storage?.device }).first {
      throw KilnError(.argument, "a tensor in the memory of \(device.device) was given to \(self.device)")
    }
    let views = tensors.map { $0?.view ?? kiln_tensor() }
    let status = views.withUnsafeBufferPointer { buffer in
      kernel(tensors.indices.map { tensors[$0] == nil ? nil : buffer.baseAddress! + $0 })
    }
    try check(status)
  }
}
