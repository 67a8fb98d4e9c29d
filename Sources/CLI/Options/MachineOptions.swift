// Where kernels run.

import ArgumentParser
import Kiln

struct MachineOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Threads of computation. (default: KILN_THREADS, else every CPU available)", valueName: "n"))
  var threads: Int?

  @Option(help: "The fastest kernels (cpu) or the plain reference loops (ref). (default: cpu)")
  var device: Context.Device?

  func makeContext() throws(KilnError) -> Context { try Context(device: device ?? .cpu, threads: threads) }
}
