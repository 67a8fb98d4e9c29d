// A model to use as it is, for `eval` and `generate`.

import ArgumentParser
import Foundation
import Kiln

struct ModelSource: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A folder with config.json and safetensors, or the safetensors file in it. (required)", valueName: "path"))
  var model: String?

  @Option(help: .tokenizer)
  var tokenizer: String?

  @Option(help: "Of products and activations. (default: fp32)")
  var precision: Precision?

  var arithmetic: Precision { precision ?? .fp32 }

  /// The model with its weights mapped, and its tokenizer.
  func load(context: Context) throws -> LoadedModel {
    let model = try required(model, "--model <path>")
    let opened = try ModelFiles.open(model)
    let store = ParameterStore(on: context)
    try ModelFiles.load(
      opened.model, from: opened.files, into: store, access: .mapped, precision: arithmetic, context: context)
    return LoadedModel(
      model: opened.model, tokenizer: try ModelFiles.tokenizer(named: tokenizer, of: model), store: store)
  }
}

struct LoadedModel {
  let model: any LanguageModel
  let tokenizer: any Tokenizer
  let store: ParameterStore
}
