import CKernels
import Foundation
import KilnTestSupport
import Testing

@testable import KilnKernels

/// What is of OpenCL devices alone; their kernels are checked where all others are (`KernelCase.onOpenCL`).
@Suite(.enabled(if: TestContext.hasOpenCL), .serialized) struct OpenCLTests {
  private let context = TestContext(device: KILN_DEVICE_OPENCL)

  @Test func devicesSayWhatTheyAre() throws {
    let devices = try Context.openCLDevices()
    #expect(devices.allSatisfy { !$0.name.isEmpty && $0.computeUnits > 0 && $0.memory > 0 })
    #expect(["cpu", "ref", "opencl:3"].map { Context.Device($0)?.description } == ["cpu", "ref", "opencl:3"])
    #expect(Context.Device("opencl") == .opencl(0))
    for wrong in ["", "gpu", "opencl:", "opencl:-1", "opencl:x", "cpu:0"] { #expect(Context.Device(wrong) == nil) }
  }

  @Test func devicesThatAreNotThereAreRefused() throws {
    let count = try Context.openCLDevices().count
    let error = #expect(throws: KilnError.self) { try Context(device: .opencl(count)) }
    #expect(error?.message == "there is no OpenCL device \(count): there are \(count), counted from 0")
    var info = kiln_opencl_info()
    info.size = UInt32(MemoryLayout<kiln_opencl_info>.size)
    #expect(kiln_opencl_describe(-1, &info) == KILN_ERR_DEVICE)
    info.size = 0
    #expect(kiln_opencl_describe(0, &info) == KILN_ERR_NULL && kiln_opencl_count(nil) == KILN_ERR_NULL)
  }

  @Test func bytesGoThereAndBack() {
    var place: UnsafeMutableRawPointer?
    #expect(kiln_device_alloc(context.handle, 100_000, &place) == KILN_OK)
    let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
    #expect(kiln_device_write(context.handle, place! + 123, bytes, bytes.count) == KILN_OK)
    var back = [UInt8](repeating: 0, count: bytes.count)
    #expect(kiln_device_read(context.handle, &back, place! + 123, back.count) == KILN_OK)
    #expect(back == bytes)
    #expect(kiln_device_finish(context.handle) == KILN_OK)
    #expect(kiln_device_free(context.handle, place! + 1) == KILN_ERR_OPTION)
    #expect(kiln_device_free(context.handle, place) == KILN_OK)
    #expect(kiln_device_read(context.handle, &back, place, 1) == KILN_ERR_OPTION)
  }

  @Test func memoryThatIsElsewhereIsRefused() {
    let status = withPointers([TestTensor([4]), TestTensor([4]), TestTensor([4])].map(\.view)) {
      kiln_add(context.handle, $0[0], $0[1], $0[2])
    }
    #expect(status == KILN_ERR_DEVICE)
    #expect(context.lastError == "add: argument 0 of add is not in the device's memory")
    var place: UnsafeMutableRawPointer?
    #expect(kiln_device_alloc(context.handle, 1 << 50, &place) == KILN_ERR_MEMORY && place == nil)
    #expect(context.lastError.contains("\(1 << 50) bytes on "), "\(context.lastError)")
    let host = TestContext()
    #expect(kiln_device_alloc(host.handle, 1, &place) == KILN_ERR_DEVICE)
  }

  /// A gap shows before a run: in query mode too.
  @Test func whatHasNoKernelSaysSo() {
    kiln_context_set_query(context.handle, true)
    defer { kiln_context_set_query(context.handle, false) }
    let narrow = [TestTensor([4], KILN_BF16), TestTensor([4], KILN_BF16)].map(\.view)
    #expect(withPointers(narrow) { kiln_add(context.handle, $0[0], $0[1], $0[1]) } == KILN_ERR_DTYPE)
    #expect(context.lastError == "add: OpenCL has kernels for f32 alone, so far, not for bf16")
    let wide = [TestTensor([4, 4]), TestTensor([4])].map(\.view)
    #expect(withPointers(wide) { kiln_slim(context.handle, $0[0], $0[0], $0[1]) } == KILN_ERR_DEVICE)
    #expect(context.lastError == "slim: there is no OpenCL kernel for it yet; the device cpu has one")
  }

  /// Random numbers are the host's.
  @Test func theSameBitsAsOnTheHost() throws {
    let (host, device) = (try Context(threads: 1), try Context(device: .opencl(0)))
    let key = RandomKey(seed: 3, step: 5, site: 4)
    let (a, b) = (try Tensor(zeros: [100]), try Tensor(zeros: [100], .float32, on: device))
    try host.randomNormal(a, std: 2, key: key)
    try device.randomNormal(b, std: 2, key: key)
    #expect(a.floats() == b.floats())
    // And between the two memories, with gaps and conversions.
    let wide = try Tensor(zeros: [10, 20], .float32, on: device)
    try device.copy(wide.slice(1, 3..<13), try Tensor(a.floats(), [10, 10]))
    let back = try Tensor(zeros: [10, 10], .float64)
    try device.copy(back, wide.slice(1, 3..<13))
    #expect(back.doubles() == a.floats().map(Double.init))
    #expect(wide.floats().reduce(0) { $0 + ($1 == 0 ? 1 : 0) } == 100)
  }

  @Test func kernelsAreTimed() throws {
    let device = try Context(device: .opencl(0))
    let x = try Tensor(zeros: [1000], .float32, on: device)
    let times = try device.profiling { () throws(KilnError) in
      for _ in 0..<3 { try device.add(x, x, x) }
      try device.fill(x, 1)
    }
    #expect(Set(times.map(\.name)) == ["add", "fill_uint"] && times.first { $0.name == "add" }?.launches == 3)
    #expect(times.allSatisfy { $0.seconds > 0 })
    #expect(throws: KilnError.self) { try Context().profiling {} }
  }

  /// Binaries are kept; one that is damaged is made anew, and a folder that cannot be written is done without.
  @Test func programsAreKept() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-opencl-\(UUID())")
    defer { try? FileManager.default.removeItem(at: folder) }
    func add(cache: String) -> kiln_status {
      let context = TestContext(device: KILN_DEVICE_OPENCL, cache: cache)
      return context.call([TestTensor([3]), TestTensor([3], values: [1, 2, 3])]) { views in
        withPointers(views) { kiln_add(context.handle, $0[0], $0[1], $0[1]) }
      }
    }
    func files() throws -> [URL] {
      try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    }
    #expect(add(cache: folder.path) == KILN_OK)
    let kept = try files()
    #expect(kept.count == 1 && kept[0].lastPathComponent.hasPrefix("elementwise-"))
    let content = try Data(contentsOf: kept[0])
    for damaged in [content.prefix(10), content.dropLast(7) + Data(count: 7), Data(count: content.count)] {
      try damaged.write(to: kept[0])
      #expect(add(cache: folder.path) == KILN_OK)
      #expect(try Data(contentsOf: kept[0]).count == content.count)
    }
    #expect(add(cache: "/proc/nothing") == KILN_OK)
  }
}
