// OpenCL devices at the command line: tuning, and drivers that fail.

import Foundation
import KilnKernels
import KilnTestSupport
import KilnTraining
import Testing

private let hasDevice = ((try? Context.openCLDevices()) ?? []).isEmpty == false

@Suite(.enabled(if: hasDevice)) struct DeviceTests {
  private let kiln: Kiln

  init() throws { kiln = try Kiln() }

  private func arguments(steps: Int) throws -> [String] {
    try kiln.write(sampleText, to: "text.txt")
    return ["train", "--data", "text.txt", "--steps", "\(steps)", "--save-every", "2", "--device", "opencl"] + tinyModel
  }

  @Test func aTunedTileIsTakenFromThenOn() throws {
    let result = try kiln("tune")
    #expect(result.status == 0, "\(result.errors)")
    let kept = try #require(result.output.split(separator: "\n").last?.split(separator: " ").last)
    #expect(Context.openCLTiles.contains(String(kept)))
    let run = try kiln.run(try arguments(steps: 1) + ["--out", "run"])
    #expect(run.status == 0 && (run.output + run.errors).contains("products in tiles of \(kept)"), "\(run.errors)")
    let host = try kiln("tune", "--device", "cpu")
    #expect(host.status == 1 && host.errors.contains("the device cpu has no tiles to choose from"))
  }

  /// Weights that are the host's in the end, which a device's kernels do not reach.
  @Test func updatesOnTheHostEndInAReport() throws {
    let result = try kiln.run(try arguments(steps: 2) + ["--offload", "optimizer", "--quiet", "--out", "run"])
    #expect(result.status == 0, "\(result.errors)")
    #expect(String(decoding: try kiln.read("run/report.html"), as: UTF8.self).contains("<h2>Sample</h2>"))
  }

  #if os(Linux)
    @Test func withoutADriverOneLineSaysSo() throws {
      let none = try kiln.run(
        try arguments(steps: 1) + ["--out", "run"], environment: ["OCL_ICD_VENDORS": kiln.folder.path + "/none"])
      #expect(none.status == 1 && none.errors.contains("OpenCL is installed, but no driver offers a device"))
      #expect(!kiln.exists("run"))
    }

    /// From some launch on the driver says that the device is gone. The run ends with that, and goes on elsewhere.
    @Test(.enabled(if: Toolchain.clang != nil)) func aDeviceThatIsLostEndsTheRunCleanly() throws {
      let lost = try run(with: ["LOST_AFTER": "2000"])
      #expect(lost.contains("CL_DEVICE_NOT_AVAILABLE") && lost.contains("--resume"), "\(lost)")
      let step = try TrainingConfiguration.resume(kiln.folder.appendingPathComponent("run")).state.step
      #expect(step >= 2)
      let resumed = try kiln("train", "--resume", "run", "--quiet")
      #expect(resumed.status == 0, "\(resumed.errors)")
    }

    @Test(.enabled(if: Toolchain.clang != nil)) func otherFaultsOfADriverAreTold() throws {
      let full = try run(with: ["FULL_AFTER": "3"])
      #expect(full.contains("bytes on") && full.contains("CL_MEM_OBJECT_ALLOCATION_FAILURE"), "\(full)")
      #expect(full.contains("--device-memory"), "\(full)")
      let broken = try run(with: ["BROKEN": "1"])
      #expect(broken.contains("cannot build the kernels of") && broken.contains("the log is in"), "\(broken)")
    }

    /// The errors of a run on a driver that fails as the environment says.
    private func run(with faults: [String: String]) throws -> String {
      let folder = kiln.folder.appendingPathComponent("driver").path
      if !kiln.exists("driver") { try makeDriver(in: folder) }
      let result = try kiln.run(
        try arguments(steps: 40) + ["--quiet", "--out", "run"],
        environment: faults.merging(["LD_LIBRARY_PATH": folder]) { $1 })
      #expect(result.status == 1)
      return result.errors
    }

    /// The loader under another name, and before it one of its own name that passes on to it what does not fail.
    private func makeDriver(in folder: String) throws {
      let real = try #require(Self.loader, "no libOpenCL.so.1")
      try kiln.write(Self.renamed(try Data(contentsOf: real)), to: "driver/libOpenCL.so.9")
      try kiln.write(Self.source, to: "driver.c")
      try Toolchain.check(
        Toolchain.clang,
        [
          "-shared", "-fPIC", kiln.folder.appendingPathComponent("driver.c").path, "\(folder)/libOpenCL.so.9",
          "-Wl,--no-as-needed", "-o", "\(folder)/libOpenCL.so.1",
        ])
    }

    private static let loader: URL? = [
      "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
    ]
    .map { URL(fileURLWithPath: $0 + "/libOpenCL.so.1").resolvingSymlinksInPath() }
    .first { FileManager.default.fileExists(atPath: $0.path) }

    /// With another name in it of the same length, so that both can be loaded.
    private static func renamed(_ library: Data) -> Data {
      var bytes = library
      let (old, new) = (Data("libOpenCL.so.1\0".utf8), Data("libOpenCL.so.9\0".utf8))
      while let range = bytes.range(of: old) { bytes.replaceSubrange(range, with: new) }
      return bytes
    }

    private static let source = """
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <stdlib.h>
      static int fails(const char *name, int *calls) {
        const char *after = getenv(name);
        return after && ++*calls > atoi(after);
      }
      int clEnqueueNDRangeKernel(void *q, void *k, unsigned n, void *o, void *g, void *l, unsigned w, void *e, void *r) {
        static int calls;
        int (*real)() = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
        return fails("LOST_AFTER", &calls) ? -2 : real(q, k, n, o, g, l, w, e, r);
      }
      void *clCreateBuffer(void *context, unsigned long flags, unsigned long size, void *host, int *code) {
        static int calls;
        void *(*real)() = (void *(*)())dlsym(RTLD_NEXT, "clCreateBuffer");
        if (!fails("FULL_AFTER", &calls)) return real(context, flags, size, host, code);
        *code = -4;
        return 0;
      }
      int clBuildProgram(void *p, unsigned n, void *devices, const char *options, void *notify, void *data) {
        int (*real)() = dlsym(RTLD_NEXT, "clBuildProgram");
        return getenv("BROKEN") ? -11 : real(p, n, devices, options, notify, data);
      }
      """
  #endif
}
