// Where kernels run.

import ArgumentParser
import Kiln

struct MachineOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Threads of computation. (default: KILN_THREADS, else every CPU available)", valueName: "n"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      """
      The fastest kernels of this CPU (cpu), its plain reference loops (ref), or an OpenCL device by its place in kiln \
      info --devices (opencl:0). (default: cpu)
      """, valueName: "device"))
  var device: Context.Device?

  func makeContext() throws(KilnError) -> Context { try Context(device: device ?? .cpu, threads: threads) }
}
