// kiln tune

import ArgumentParser
import Kiln

struct TuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune", abstract: "Find the tiles in which an OpenCL device multiplies matrices fastest.",
    discussion: """
      They are kept in the cache (KILN_CACHE) for the device and its driver, and runs that are started from then on take \
      them. A run that goes on in other tiles says so: the last bits may differ.
      """)

  @Option(
    help: ArgumentHelp("The device, by its place in kiln info --devices. (default: opencl:0)", valueName: "device"))
  var device: Context.Device = .opencl(0)

  func run() throws {
    var rows: [(name: String, value: String)] = []
    let best = try TileTuner(device).run { finding in
      Terminal.note("\(finding.tile): \(Self.rate(finding))")
      rows.append((name: finding.tile, value: Self.rate(finding)))
    }
    Terminal.print(table: rows)
    Terminal.print("kept: \(best.tile)")
  }

  private static func rate(_ finding: TileTuner.Finding) -> String {
    finding.flops.map { String(format: "%.1f GFLOP/s", $0 / 1e9) } ?? "not on this device"
  }
}
