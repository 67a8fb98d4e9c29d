// How much memory a run may take, and what makes it fit.

import ArgumentParser
import Kiln

struct MemoryOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      The most that the process may take, such as 2GB, 900MiB: what runs again in the backward, and the micro-batch \
      unless given, are chosen so that it fits. (default: no limit)
      """, valueName: "bytes"))
  var memory: ByteCount?

  @Option(
    help: ArgumentHelp(
      """
      What of the forward runs again in the backward, in place of being kept: none, attention, every-N (all between every \
      N layers), sqrt (N = sqrt(layers)). (default: none, or by --memory)
      """, valueName: "what"))
  var recompute: Recomputation?

  @Option(
    help: ArgumentHelp(
      """
      Bits in which activations wait for the backward, 8, 4 or 2, rounded so that gradients are right on average. \
      (default: all)
      """, valueName: "bits"))
  var compressActivations: Int?

  @Option(help: "Keep the optimizer's states on disk, and read and write them beside the updates. (default: in memory)")
  var offload: TrainingConfiguration.Offload?

  @Option(
    help: ArgumentHelp(
      "The folder for what is offloaded; with --memory, what does not fit goes there. (default: none; with --offload the "
        + "system's for temporary files)", valueName: "dir"))
  var disk: String?

  @Option(help: "With --memory: also what changes the numbers, such as states in fewer bits (lossy). (default: not)")
  var allow: TrainingConfiguration.Allowance?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.memory = memory?.value ?? configuration.memory
    configuration.recompute = recompute ?? configuration.recompute
    configuration.compressActivations = compressActivations ?? configuration.compressActivations
    configuration.offload = offload ?? configuration.offload
    configuration.disk = disk ?? configuration.disk
    configuration.allow = allow ?? configuration.allow
  }
}
