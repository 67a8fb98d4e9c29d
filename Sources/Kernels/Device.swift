import CKernels

extension Context.Device: CustomStringConvertible, LosslessStringConvertible {
  /// `cpu`, `ref`, `opencl:0`; nil for what is no device. `opencl` is the first one.
  public init?(_ description: String) {
    let parts = description.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts.first, parts.count) {
    case ("cpu", 1): self = .cpu
    case ("ref", 1): self = .ref
    case ("opencl", 1): self = .opencl(0)
    case ("opencl", 2):
      guard let index = Int(parts[1]), index >= 0 else { return nil }
      self = .opencl(index)
    default: return nil
    }
  }

  public var description: String {
    switch self {
    case .cpu: "cpu"
    case .ref: "ref"
    case .opencl(let index): "opencl:\(index)"
    }
  }
}

/// What an OpenCL device says of itself.
public struct OpenCLDevice: Sendable, Hashable {
  public let name: String
  public let platform: String
  /// Of OpenCL, and of the driver.
  public let version: String
  public let driver: String
  public let computeUnits: Int
  /// Whether it is the host's processor, whose memory is the process's.
  public let isCPU: Bool
  public let memory: Int
  public let largestAllocation: Int
}

/// What a kernel of a device has taken.
public struct KernelTime: Sendable, Hashable {
  public let name: String
  public let launches: Int
  public let seconds: Double
}

extension Context {
  /// The OpenCL devices of this machine, of all platforms in their order. Throws where no OpenCL is installed.
  public static func openCLDevices() throws(KilnError) -> [OpenCLDevice] {
    var count: Int32 = 0
    guard kiln_opencl_count(&count) == KILN_OK else {
      throw KilnError(.unsupported, String(cString: kiln_last_error(nil)))
    }
    return (0..<count).compactMap(openCLDevice)
  }

  static func openCLDevice(_ index: Int32) -> OpenCLDevice? {
    var info = kiln_opencl_info()
    info.size = UInt32(MemoryLayout<kiln_opencl_info>.size)
    guard kiln_opencl_describe(index, &info) == KILN_OK else { return nil }
    return OpenCLDevice(
      name: text(info.name), platform: text(info.platform), version: text(info.version), driver: text(info.driver),
      computeUnits: Int(info.compute_units), isCPU: info.is_cpu != 0, memory: Int(clamping: info.memory),
      largestAllocation: Int(clamping: info.largest_allocation))
  }

  /// The tiles that OpenCL devices can multiply matrices in.
  public static var openCLTiles: [String] {
    var names: [String] = []
    while let name = kiln_opencl_tile(Int32(names.count)) { names.append(String(cString: name)) }
    return names
  }

  /// Makes the tile of this context that of all that are made for its device from now on.
  public func keepTile() throws(KilnError) { try check(kiln_device_keep_tile(handle)) }

  /// What kernels of a device take, by its own clock: the one that takes the most first.
  public func profiling(_ body: () throws(KilnError) -> Void) throws(KilnError) -> [KernelTime] {
    try check(kiln_device_profile(handle, true))
    defer { kiln_device_profile(handle, false) }
    try body()
    var times = [kiln_kernel_time](repeating: kiln_kernel_time(), count: 256)
    var count: Int32 = 0
    try check(kiln_device_times(handle, &times, 256, &count))
    return times.prefix(Int(count)).map {
      KernelTime(name: Self.text($0.name), launches: Int($0.launches), seconds: $0.seconds)
    }
  }

  /// A C string in an array of fixed size.
  private static func text<T>(_ characters: T) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
