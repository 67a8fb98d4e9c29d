// What is trained on.

import ArgumentParser
import Kiln

struct DataOptions: ParsableArguments {
  @Option(parsing: .upToNextOption, help: "Files to train on: UTF-8 text, or token shards. (required)")
  var data: [String] = []

  @Option(help: .tokenizer)
  var tokenizer: String?

  @Option(help: ArgumentHelp("Held-out text or tokens, evaluated now and then. (default: none)", valueName: "file"))
  var evalData: String?

  @Option(help: "The order of sequences. (default: \(TrainingConfiguration.defaults.order.rawValue))")
  var order: TrainingConfiguration.Order?

  func apply(to configuration: inout TrainingConfiguration) {
    if !data.isEmpty { configuration.data = data }
    configuration.tokenizer = tokenizer ?? configuration.tokenizer
    configuration.evalData = evalData ?? configuration.evalData
    configuration.order = order ?? configuration.order
  }
}

extension ArgumentHelp {
  static let tokenizer = ArgumentHelp(
    """
    How text becomes tokens: 'bytes', a tokenizer.json, or a folder with one. \
    (default: the model's own, else bytes)
    """, valueName: "bytes|path")
}
