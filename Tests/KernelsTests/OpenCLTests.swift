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
    let double = [TestTensor([4], KILN_F64), TestTensor([4], KILN_F64)].map(\.view)
    #expect(withPointers(double) { kiln_add(context.handle, $0[0], $0[1], $0[1]) } == KILN_ERR_DTYPE)
    #expect(context.lastError == "add: OpenCL has kernels for f32, bf16 and f16, not for f64")
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

  /// Bytes on their way beside the kernels: they are those of before, and kernels go on.
  @Test func transfersGoBesideKernels() throws {
    let device = try Context(device: .opencl(0))
    let count = 3 << 18  // more than passes through at once
    let storage = try Storage(byteCount: 4 * count, on: device)
    let x = Tensor([count], .float32, in: storage)
    for place in [BackingStore.Place.host, .disk(FileManager.default.temporaryDirectory)] {
      let store = try BackingStore(in: place, byteCount: storage.byteCount)
      try device.fill(x, 3)
      let away = store.write(0..<storage.byteCount, from: storage)
      let y = try Tensor(zeros: [count], .float32, on: device)
      try device.add(y, x, x)
      try away.wait()
      try device.fill(x, 5)
      try store.read(0..<storage.byteCount, into: storage).wait()
      #expect(x.floats().allSatisfy { $0 == 3 } && y.floats().allSatisfy { $0 == 6 })
    }
    let part = try Tensor(zeros: [4, 5], .float32)
    try device.fill(x, 7)
    let read = try Tensor([4, 5], .float32, in: storage, at: 64).read(into: part, on: DispatchQueue(label: "reads"))
    try device.fill(try Tensor(zeros: [count], .float32, on: device), 5)
    try read.wait()
    #expect(part.floats().allSatisfy { $0 == 7 })
    try device.fill(x, 3)
    var transfer: OpaquePointer?
    #expect(kiln_transfer_begin(device.handle, storage.base, storage.byteCount + 1, &transfer) == KILN_ERR_OPTION)
    #expect(transfer == nil)
    #expect(kiln_transfer_begin(device.handle, storage.base + 8, 16, &transfer) == KILN_OK)
    var values: [Float] = [0, 0]
    #expect(kiln_transfer_read(transfer, 8, &values, 8) == KILN_OK && values == [3, 3])
    #expect(kiln_transfer_read(transfer, 9, &values, 8) == KILN_ERR_OPTION)
    #expect(kiln_transfer_write(transfer, 17, values, 0) == KILN_ERR_OPTION)
    #expect(kiln_transfer_read(nil, 0, &values, 8) == KILN_ERR_NULL)
    kiln_transfer_end(transfer)
    kiln_transfer_end(nil)
  }

  /// Every tile gives the product, whatever the device is; one is kept for what comes.
  @Test func tilesAreChosenAndKept() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-opencl-\(UUID())")
    defer { try? FileManager.default.removeItem(at: folder) }
    func context(_ tile: String? = nil) -> TestContext {
      TestContext(device: KILN_DEVICE_OPENCL, cache: folder.path, tile: tile)
    }
    func name(_ context: TestContext) -> String { String(cString: kiln_context_tile(context.handle)) }
    let (a, b) = (pseudoRandom(70 * 37, seed: 1), pseudoRandom(37 * 131, seed: 2))
    var results: [[Double]] = []
    for tile in Context.openCLTiles {
      let context = context(tile)
      let c = TestTensor([70, 131])
      let status = context.call([c, TestTensor([70, 37], values: a), TestTensor([37, 131], values: b)]) { views in
        withPointers(views) { kiln_gemm(context.handle, $0[0], $0[1], $0[2], nil) }
      }
      #expect(status == KILN_OK && name(context) == tile, "\(tile): \(context.lastError)")
      results.append(c.values)
    }
    for other in results { #expect(zip(other, results[0]).allSatisfy { abs($0 - $1) < 1e-4 }) }
    let usual = name(context())
    let other = try #require(Context.openCLTiles.first { $0 != usual })
    #expect(kiln_device_keep_tile(context(other).handle) == KILN_OK && name(context()) == other)
    #expect(name(TestContext(device: KILN_DEVICE_OPENCL, cache: "/proc/nothing")) == usual)
    let nowhere = TestContext(device: KILN_DEVICE_OPENCL, cache: "/proc/nothing")
    #expect(kiln_device_keep_tile(nowhere.handle) == KILN_ERR_DEVICE)
    #expect(nowhere.lastError.contains("nothing can be kept in '/proc/nothing'"))
    let error = #expect(throws: KilnError.self) { try Context(device: .opencl(0), tile: "7x7") }
    #expect(error?.message == "there is no tile '7x7'; the first of them is '\(Context.openCLTiles[0])'")
  }

  /// In blocks of rows and runs of k, with the scratch that a query without data tells of.
  @Test(arguments: [false, true]) func largeProductsTakeWhatTheyTell(hasEpilogue: Bool) throws {
    let (m, n, k) = (900, 20, 5000)
    func product(_ context: Context) throws -> [Float] {
      func tensor(_ shape: Shape, seed: UInt64) throws -> Tensor {
        let tensor = try Tensor(zeros: shape, .float32, on: context)
        tensor.copy(from: pseudoRandom(shape.count, seed: seed).map(Float.init))
        return tensor
      }
      let (a, b, c) = (try tensor([m, k], seed: 1), try tensor([n, k], seed: 2), try tensor([m, n], seed: 3))
      var options = Context.GemmOptions()
      (options.transposeB, options.accumulate) = (true, true)
      if hasEpilogue { options.bias = try tensor([n], seed: 4) }
      var empty = options
      if hasEpilogue { empty.bias = Tensor([n], .float32, in: nil) }
      let told = try context.measuringWorkspace { () throws(KilnError) in
        try context.gemm(
          Tensor([m, n], .float32, in: nil), Tensor([m, k], .float32, in: nil), Tensor([n, k], .float32, in: nil), empty
        )
      }
      try context.setWorkspace(try Storage(byteCount: told, on: context.device == .cpu ? nil : context))
      try context.gemm(c, a, b, options)
      return c.floats()
    }
    let (host, device) = (try product(Context(threads: 2)), try product(Context(device: .opencl(0))))
    #expect(zip(host, device).allSatisfy { abs($0 - $1) < 1e-2 })
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
