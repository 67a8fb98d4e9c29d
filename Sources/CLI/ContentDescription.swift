// What stands at a path, as facts and tensors.

import Foundation
import Kiln

struct ContentDescription {
  enum Value {
    case text(String)
    case count(Int)
    case bytes(Int)
    case real(Double)
    case flag(Bool)
  }

  struct TensorRow: Encodable {
    var name: String
    var dtype: String
    var shape: [Int]
    var bytes: Int
  }

  private(set) var facts: [(name: String, value: Value)] = []
  private(set) var tensors: [TensorRow] = []
  /// Of sparse weights: the share that is kept.
  private(set) var densities: [(name: String, density: Double)] = []

  init(of path: String) throws(KilnError) {
    let url = URL(fileURLWithPath: path)
    func holds(_ name: String) -> Bool { FileManager.default.fileExists(atPath: url.appendingPathComponent(name).path) }
    guard FileManager.default.fileExists(atPath: path) else { throw KilnError(.file, "'\(path)' does not exist") }
    facts = [("path", .text(path))]
    if holds("checkpoints") {
      try addRun(url, isFinished: holds("config.json"))
    } else if holds("config.json") {
      try addModel(path)
    } else if url.pathExtension == "safetensors" || holds("model.safetensors")
      || holds("model.safetensors.index.json")
    {
      try addWeights(url)
    } else if url.pathExtension == "json" || holds("tokenizer.json") {
      try addTokenizer(url)
    } else {
      throw KilnError(
        .file, "'\(path)' is no model, run, safetensors file or tokenizer",
        hint: "name a folder with config.json or checkpoints, a .safetensors file, or a tokenizer.json")
    }
  }

  var rows: [(name: String, value: String)] {
    facts.map { fact in
      let text =
        switch fact.value {
        case .text(let text): text
        case .count(let number): "\(number)"
        case .bytes(let number): formatBytes(number)
        case .real(let number): "\(number)"
        case .flag(let flag): flag ? "yes" : "no"
        }
      return (fact.name, text)
    }
  }

  private mutating func addRun(_ url: URL, isFinished: Bool) throws(KilnError) {
    let point = try TrainingConfiguration.resume(url)
    facts += [
      ("kind", .text(isFinished ? "run, finished" : "run")),
      ("checkpoint", .text(point.folder?.lastPathComponent ?? "none yet")),
      ("steps done", .count(point.state.step)), ("tokens seen", .count(point.state.tokensSeen)),
      ("data", .text(point.configuration.data.joined(separator: " "))),
      ("optimizer", .text(point.configuration.optimizer.rawValue)), ("lr", .real(point.configuration.peakRate)),
      ("seed", .text("\(point.configuration.seed)")),
    ]
    if let folder = point.folder { try addConfiguration(and: ModelFiles.open(folder.path)) }
  }

  private mutating func addModel(_ path: String) throws(KilnError) {
    facts.append(("kind", .text("model")))
    try addConfiguration(and: ModelFiles.open(path))
  }

  private mutating func addConfiguration(
    and opened: (model: any LanguageModel, files: PretrainedDirectory)
  ) throws(KilnError) {
    let model = opened.model.configuration
    facts += [
      ("model type", .text(model.modelType)), ("layers", .count(model.layers)), ("width", .count(model.width)),
      ("hidden", .count(model.hidden)), ("heads", .count(model.heads)), ("kv heads", .count(model.kvHeads)),
      ("head width", .count(model.headWidth)), ("vocabulary", .count(model.vocabularySize)),
      ("context", .count(model.contextLength)), ("tied head", .flag(model.tiesWordEmbeddings)),
      ("parameters", .count(model.parameterCount)),
    ]
    try addTensors(Array(opened.files.tensors.values))
    addDensities(of: opened.model)
  }

  private mutating func addDensities(of model: any LanguageModel) {
    let sparse = model.parameters.compactMap { parameter in parameter.type.pattern.map { (parameter.name, $0) } }
    let patterns = sparse.map(\.1)
    guard let format = patterns.first?.format else { return }
    facts += [
      ("kept in", .text("\(format)")), ("kept", .count(patterns.keptCount)),
      ("density", .real(rounded(patterns.density))),
    ]
    densities = sparse.map { ($0.0, rounded($0.1.density)) }
  }

  private func rounded(_ share: Double) -> Double { (share * 10000).rounded() / 10000 }

  private mutating func addWeights(_ url: URL) throws(KilnError) {
    facts.append(("kind", .text("safetensors")))
    let stored = Array(try PretrainedDirectory(url).tensors.values)
    facts.append(("parameters", .count(stored.reduce(0) { $0 + $1.shape.count })))
    try addTensors(stored)
  }

  private mutating func addTensors(_ stored: [StoredTensor]) throws(KilnError) {
    tensors = stored.map {
      TensorRow(name: $0.name, dtype: $0.type.rawValue, shape: $0.shape.extents, bytes: $0.range.count)
    }
    let types = Set(tensors.map(\.dtype)).sorted().joined(separator: " ")
    facts += [
      ("tensor count", .count(tensors.count)), ("types", .text(types)),
      ("size", .bytes(tensors.reduce(0) { $0 + $1.bytes })),
    ]
  }

  private mutating func addTokenizer(_ url: URL) throws(KilnError) {
    let tokenizer = try BPETokenizer(contentsOf: url)
    facts += [
      ("kind", .text("tokenizer")), ("vocabulary", .count(tokenizer.vocabularySize)),
      ("end of text", .text(tokenizer.endOfText.map { "\($0)" } ?? "none")),
    ]
  }
}
