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
      Bits in which activations wait for the backward, rounded so that gradients are right on average: 8, 4, 2, or \
      auto-N, each with what its sensitivity asks, measured before the first step, and N on average. (default: all)
      """, valueName: "bits"))
  var compressActivations: ActivationBits?

  @Option(
    help: ArgumentHelp(
      """
      The most that tensors on the device may take, such as 512MB; what does not fit goes to the host's memory, or to \
      --disk. (default: all there is)
      """, valueName: "bytes"))
  var deviceMemory: ByteCount?

  @Option(
    help: ArgumentHelp(
      """
      What lies behind the device between its uses, with commas: states of the optimizer, activations, or optimizer \
      (fp32 weights, states and the update, on the host). (default: none, or by --memory and --device-memory)
      """, valueName: "what"))
  var offload: OffloadList?

  @Option(
    help: ArgumentHelp(
      """
      The folder for what is offloaded; with --memory, what does not fit goes there. (default: none; with --offload the \
      host's memory if --device-memory is given, else the system's folder for temporary files)
      """, valueName: "dir"))
  var disk: String?

  @Option(
    help: ArgumentHelp(
      """
      With --offload optimizer: from this step on updates go on beside the next step, whose gradients miss them. \
      (default: never)
      """, valueName: "step"))
  var delayUpdate: Int?

  @Option(help: "With --memory: also what changes the numbers, such as states in fewer bits (lossy). (default: not)")
  var allow: TrainingConfiguration.Allowance?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.memory = memory?.value ?? configuration.memory
    configuration.recompute = recompute ?? configuration.recompute
    configuration.compressActivations = compressActivations ?? configuration.compressActivations
    configuration.deviceMemory = deviceMemory?.value ?? configuration.deviceMemory
    configuration.offload = offload?.values ?? configuration.offload
    configuration.disk = disk ?? configuration.disk
    configuration.delayUpdate = delayUpdate ?? configuration.delayUpdate
    configuration.allow = allow ?? configuration.allow
  }
}
