// What is trained: the sizes of a new model, or a pretrained one.

import ArgumentParser
import Kiln

struct ModelOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      A pretrained model: a folder with config.json and safetensors, or the safetensors file in it. \
      (default: a new model)
      """, valueName: "path"))
  var model: String?

  @Option(help: "The kind of a new model. (default: gpt2)")
  var arch: TrainingConfiguration.Architecture?

  @Option(help: ArgumentHelp("Transformer blocks of a new model. (default: 4)", valueName: "n"))
  var layers: Int?

  @Option(help: ArgumentHelp("Attention heads; they divide the width. (default: width / 64)", valueName: "n"))
  var heads: Int?

  @Option(
    help: ArgumentHelp(
      "Heads of keys and values, llama only; they divide the heads. (default: heads)", valueName: "n"))
  var kvHeads: Int?

  @Option(help: ArgumentHelp("Width of the residual stream. (default: 256)", valueName: "n"))
  var width: Int?

  @Option(
    help: ArgumentHelp(
      "Width of the feed-forward layer. (default: 4 x width; llama: 8/3 x width, rounded up to 32)", valueName: "n"))
  var hidden: Int?

  @Option(help: ArgumentHelp("Tokens of a new model's vocabulary. (default: the tokenizer's)", valueName: "n"))
  var vocabSize: Int?

  @Option(
    help: ArgumentHelp(
      "Probability of dropping a value in training. (default: \(TrainingConfiguration.defaults.dropout))",
      valueName: "p"))
  var dropout: Double?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.model = model ?? configuration.model
    configuration.arch = arch ?? configuration.arch
    configuration.layers = layers ?? configuration.layers
    configuration.heads = heads ?? configuration.heads
    configuration.kvHeads = kvHeads ?? configuration.kvHeads
    configuration.width = width ?? configuration.width
    configuration.hidden = hidden ?? configuration.hidden
    configuration.vocabSize = vocabSize ?? configuration.vocabSize
    configuration.dropout = dropout ?? configuration.dropout
  }
}
