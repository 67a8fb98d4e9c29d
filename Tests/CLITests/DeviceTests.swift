// OpenCL devices at the command line: tuning, and one that is lost in the middle of a run.

import Foundation
import KilnKernels
import KilnTestSupport
import KilnTraining
import Testing

private let hasDevice = ((try? Context.openCLDevices()) ?? []).isEmpty == false

@Suite(.enabled(if: hasDevice)) struct DeviceTests {
  private let kiln: Kiln

  init() throws { kiln = try Kiln() }

  @Test func aTunedTileIsTakenFromThenOn() throws {
    let result = try kiln("tune")
    #expect(result.status == 0, "\(result.errors)")
    let kept = try #require(result.output.split(separator: "\n").last?.split(separator: " ").last)
    #expect(Context.openCLTiles.contains(String(kept)))
    try kiln.write(sampleText, to: "text.txt")
    let run = try kiln.run(
      ["train", "--data", "text.txt", "--steps", "1", "--device", "opencl", "--out", "run"] + tinyModel)
    #expect(run.status == 0 && (run.output + run.errors).contains("products in tiles of \(kept)"), "\(run.errors)")
    let host = try kiln("tune", "--device", "cpu")
    #expect(host.status == 1 && host.errors.contains("the device cpu has no tiles to choose from"))
  }

  #if os(Linux)
    /// From some launch on the driver says that the device is gone. The run ends with that, and goes on elsewhere.
    @Test(.enabled(if: Toolchain.clang != nil)) func aDeviceThatIsLostEndsTheRunCleanly() throws {
      let real = try #require(Self.loader, "no libOpenCL.so.1")
      // The loader under another name, and before it one of its own name that passes everything on to it.
      let copy = try Data(contentsOf: real)
      try kiln.write(Self.renamed(copy), to: "lost/libOpenCL.so.9")
      try kiln.write(Self.source, to: "lost.c")
      let folder = kiln.folder.appendingPathComponent("lost").path
      try Toolchain.check(
        Toolchain.clang,
        [
          "-shared", "-fPIC", kiln.folder.appendingPathComponent("lost.c").path, "\(folder)/libOpenCL.so.9",
          "-Wl,--no-as-needed", "-o", "\(folder)/libOpenCL.so.1",
        ])
      try kiln.write(sampleText, to: "text.txt")
      let arguments =
        ["train", "--data", "text.txt", "--steps", "40", "--save-every", "2", "--device", "opencl", "--quiet"]
        + tinyModel
      let lost = try kiln.run(
        arguments + ["--out", "run"], environment: ["LD_LIBRARY_PATH": folder, "LOST_AFTER": "2000"])
      #expect(lost.status == 1)
      #expect(
        lost.errors.contains("CL_DEVICE_NOT_AVAILABLE") && lost.errors.contains("--resume"), "\(lost.errors)")
      let step = try TrainingConfiguration.resume(kiln.folder.appendingPathComponent("run")).state.step
      #expect(step >= 2)
      let resumed = try kiln("train", "--resume", "run", "--quiet")
      #expect(resumed.status == 0, "\(resumed.errors)")
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
      int clEnqueueNDRangeKernel(void *q, void *k, unsigned n, void *o, void *g, void *l, unsigned w, void *e, void *out) {
        static int launches;
        if (++launches > atoi(getenv("LOST_AFTER"))) return -2;
        int (*real)() = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
        return real(q, k, n, o, g, l, w, e, out);
      }
      """
  #endif
}
