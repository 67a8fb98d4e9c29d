// All options of `kiln train`, as the command line and --config files give them.

import ArgumentParser
import Foundation
import Kiln

struct TrainOptions: ParsableArguments {
  @OptionGroup(title: "Data") var data: DataOptions
  @OptionGroup(title: "Model") var model: ModelOptions
  @OptionGroup(title: "Batch and length") var length: LengthOptions
  @OptionGroup(title: "Optimizer") var optimizer: OptimizerOptions
  @OptionGroup(title: "Sparse weights") var sparsity: SparsityOptions
  @OptionGroup(title: "Memory") var memory: MemoryOptions
  @OptionGroup(title: "Output") var saving: SavingOptions
  @OptionGroup(title: "Machine") var machine: MachineOptions

  /// Puts what is given in place of what stands there.
  func apply(to configuration: inout TrainingConfiguration) {
    data.apply(to: &configuration)
    model.apply(to: &configuration)
    length.apply(to: &configuration)
    optimizer.apply(to: &configuration)
    sparsity.apply(to: &configuration)
    memory.apply(to: &configuration)
    saving.apply(to: &configuration)
  }
}

extension TrainingConfiguration {
  static let defaults = TrainingConfiguration()
}
