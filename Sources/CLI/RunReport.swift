// The report of a run: its description, its metrics, and what the trained model writes.

import Foundation
import Kiln

enum RunReport {
  /// Writes `report.html` into the run's folder.
  static func write(for trainer: Trainer, metrics: URL, withSample: Bool) throws(KilnError) -> URL {
    let url = trainer.out.appendingPathComponent("report.html")
    let summary = RunSummary(
      rows: RunDescription.rows(of: trainer).map { RunSummary.Row($0.name, $0.value) },
      sample: withSample ? try sample(of: trainer) : nil,
      unigramBitsPerByte: trainer.corpus.byteEntropy(decodedBy: trainer.tokenizer))
    try Report.write(
      to: url, title: "Kiln: \(trainer.out.lastPathComponent)", metrics: try MetricsFile.read(metrics),
      summary: summary)
    return url
  }

  /// A continuation of the held-out text, or else of the training text; nil for tokens that are no text.
  private static func sample(of trainer: Trainer) throws(KilnError) -> String? {
    let corpus = trainer.evalCorpus ?? trainer.corpus
    let limit = trainer.model.configuration.contextLength
    guard let largest = corpus.maximumToken(), Int(largest) < trainer.tokenizer.vocabularySize, limit > 1
    else { return nil }
    let prompt = corpus[0..<min(32, limit / 2, corpus.count)]
    let generator = Generator(
      trainer.model, precision: trainer.keptPrecision, context: trainer.storeContext, store: trainer.store)
    let tokens = try generator.generate(
      after: prompt, count: 400, sampling: Sampling(temperature: 0.8, seed: trainer.configuration.seed))
    return trainer.tokenizer.text(of: prompt + tokens)
  }
}
