// From a text to a trained model and back, through the command line alone.

import Foundation
import Testing

/// A run of six steps that tests share; they read it, or work on a copy.
private let trained: Result<Kiln, any Error> = Result {
  let kiln = try Kiln()
  atexit { if let folder = try? trained.get().folder { try? FileManager.default.removeItem(at: folder) } }
  try kiln.write(sampleText, to: "text.txt")
  let result = try kiln.run(
    [
      "train", "--data", "text.txt", "--eval-data", "text.txt", "--eval-every", "3", "--out", "run", "--steps", "6",
      "--schedule", "constant",
    ] + tinyModel)
  #expect(result.status == 0, "\(result.errors)")
  #expect(result.output.contains("step 1/6"))
  #expect(result.output.contains("finished 6 steps"))
  return kiln
}

@Suite(.serialized) struct TrainTests {
  let kiln: Kiln
  init() throws { kiln = try trained.get() }

  private struct Evaluation: Decodable {
    var loss, perplexity, bits_per_byte: Double
    var tokens, batches: Int
  }

  private struct Generation: Decodable {
    var prompt_tokens, tokens: [Int]
    var text: String
  }

  @Test func writesModelCheckpointsMetricsAndReport() throws {
    for name in ["config.json", "model.safetensors", "report.html", "checkpoints/latest"] {
      #expect(kiln.exists("run/\(name)"), "\(name)")
    }
    let lines = try kiln.metrics("run/metrics.jsonl")
    #expect(lines.compactMap { $0["step"] } == [0, 1, 2, 3, 4, 5])
    for line in lines {
      for key in ["loss", "grad_norm", "lr", "tokens", "seconds", "tokens_per_second", "peak_bytes"] {
        #expect(line[key, default: 0] > 0, "\(key)")
      }
    }
    #expect(lines.compactMap { $0["eval_loss"] }.count == 2)
    #expect(lines[5]["loss", default: 9] < lines[0]["loss", default: 0])
    let report = String(decoding: try kiln.read("run/report.html"), as: UTF8.self)
    #expect(report.contains("gpt2, 2 layers x 32"))
    #expect(report.contains("Line 0: the quic"))
  }

  @Test func evaluates() throws {
    let json = try kiln("eval", "--model", "run", "--data", "text.txt", "--json")
    #expect(json.status == 0, "\(json.errors)")
    let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    #expect(Set(object.keys) == ["loss", "perplexity", "bits_per_byte", "tokens", "batches"])
    let evaluation = try JSONDecoder().decode(Evaluation.self, from: Data(json.output.utf8))
    #expect(evaluation.tokens == sampleText.utf8.count - 1)
    #expect(abs(evaluation.perplexity - exp(evaluation.loss)) < 1e-6 * evaluation.perplexity)
    let held = try #require(try kiln.metrics("run/metrics.jsonl").last?["eval_loss"])
    #expect(abs(evaluation.loss - held) < 1e-6)
    let table = try kiln(
      "eval", "--model", "run", "--data", "text.txt", "--context", "16", "--batch", "3", "--batches", "2")
    #expect(table.output.contains("bits per byte"))
    #expect(table.output.contains("tokens         96\n"))
  }

  @Test func generates() throws {
    let json = try kiln("generate", "--model", "run", "--prompt-tokens", "76,105", "--max-tokens", "7", "--json")
    #expect(json.status == 0, "\(json.errors)")
    let generation = try JSONDecoder().decode(Generation.self, from: Data(json.output.utf8))
    #expect(generation.prompt_tokens == [76, 105])
    #expect(generation.tokens.count == 7)
    let same = try kiln("generate", "--model", "run", "--prompt", "Li", "--max-tokens", "7")
    #expect(same.output == generation.text + "\n")
    let options = ["generate", "--model", "run", "--prompt", "Li", "--temperature", "1", "--top-k", "50", "--json"]
    let first = try kiln.run(options + ["--seed", "1"]).output
    #expect(try first == kiln.run(options + ["--seed", "1"]).output)
    #expect(try first != kiln.run(options + ["--seed", "2"]).output)
  }

  @Test func tells() throws {
    let run = try kiln("info", "run")
    #expect(run.output.contains("steps done    6\n"))
    let json = try kiln("info", "run/model.safetensors", "--json", "--tensors")
    let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    let tensors = try #require(object["tensors"] as? [[String: Any]])
    let embedding = tensors.first { $0["name"] as? String == "transformer.wte.weight" }
    #expect(embedding?["shape"] as? [Int] == [256, 32])
  }

  @Test func resumesInPlace() throws {
    let copy = try Kiln()
    try copy.write(sampleText, to: "text.txt")
    try FileManager.default.copyItem(
      at: kiln.folder.appendingPathComponent("run"), to: copy.folder.appendingPathComponent("run"))
    let conflict = try copy("train", "--resume", "run", "--lr", "0.5")
    #expect(conflict.status == 1)
    #expect(conflict.errors.hasPrefix("error: --lr is 0.5, but the run was started with "))
    let resumed = try copy("train", "--resume", "run", "--eval-data", "text.txt", "--steps", "9", "--quiet")
    #expect(resumed.status == 0, "\(resumed.errors)")
    #expect(resumed.output.hasPrefix("finished 9 steps"))
    let lines = try copy.metrics("run/metrics.jsonl")
    #expect(lines.compactMap { $0["step"] } == Array(stride(from: 0.0, to: 9, by: 1)))

    let whole = try copy.run(
      ["train", "--data", "text.txt", "--out", "whole", "--steps", "9", "--schedule", "constant", "--quiet"]
        + tinyModel)
    #expect(whole.status == 0)
    #expect(try copy.metrics("whole/metrics.jsonl").map { $0["loss"] } == lines.map { $0["loss"] })
    #expect(try copy.read("whole/model.safetensors") == copy.read("run/model.safetensors"))
  }

  @Test func interruptionSavesAndStops() throws {
    let own = try Kiln()
    try own.write(sampleText, to: "text.txt")
    let process = try own.start(["train", "--data", "text.txt", "--out", "run", "--steps", "1000000"] + tinyModel)
    let output = try #require(process.standardOutput as? Pipe).fileHandleForReading
    var seen = ""
    while !seen.contains("step 1/") {
      let data = output.availableData
      try #require(!data.isEmpty, "the run ended: \(seen)")
      seen += String(decoding: data, as: UTF8.self)
    }
    process.interrupt()
    seen += String(decoding: output.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    #expect(seen.contains("go on with: kiln train --resume run"))
    #expect(own.exists("run/checkpoints/latest"))
    #expect(!own.exists("run/model.safetensors"))
  }

  @Test func aReaderThatLeavesDoesNotEndARun() throws {
    let own = try Kiln()
    try own.write(sampleText, to: "text.txt")
    let process = try own.start(["train", "--data", "text.txt", "--out", "run", "--steps", "3"] + tinyModel)
    try #require(process.standardOutput as? Pipe).fileHandleForReading.close()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    #expect(own.exists("run/model.safetensors"))
  }

  @Test func trainsATokenizerAndAModelOnIt() throws {
    let own = try Kiln()
    try own.write(sampleText, to: "text.txt")
    let made = try own("tokenizer", "train", "--data", "text.txt", "--vocab-size", "300", "--out", "tokenizer.json")
    #expect(made.status == 0, "\(made.errors)")
    #expect(try own("info", "tokenizer.json").output.contains("vocabulary   300\n"))
    let again = try own("tokenizer", "train", "--data", "text.txt", "--vocab-size", "300", "--out", "tokenizer.json")
    #expect(again.status == 1)
    let run = try own.run(
      ["train", "--data", "text.txt", "--tokenizer", "tokenizer.json", "--out", "run", "--steps", "2"]
        + ["--arch", "llama"] + tinyModel)
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.output.contains("llama, 2 layers x 32, 2 heads, vocabulary 300"))
    #expect(own.exists("run/tokenizer.json"))
    let text = try own("generate", "--model", "run", "--prompt", "the lazy", "--max-tokens", "4", "--json")
    #expect(text.status == 0, "\(text.errors)")
  }
}
