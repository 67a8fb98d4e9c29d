// --config: the same run as the same flags, and clear refusals.

import Foundation
import Testing

@Suite struct ConfigurationFileTests {
  let kiln: Kiln
  init() throws {
    kiln = try Kiln()
    try kiln.write(sampleText, to: "text.txt")
  }

  @Test func fileEqualsFlagsAndFlagsWin() throws {
    try kiln.write(
      """
      data: [text.txt]
      layers: 2
      width: 32
      heads: 2
      context: 32
      batch: 2
      steps: 50
      betas: [0.8, 0.9]
      lr: 2e-3
      grad-clip: 0
      quiet: true
      """, to: "run.yaml")
    let file = try kiln("train", "--config", "run.yaml", "--steps", "3", "--out", "file")
    #expect(file.status == 0, "\(file.errors)")
    #expect(file.output.hasPrefix("finished 3 steps"))
    let flags = try kiln.run(
      [
        "train", "--data", "text.txt", "--betas", "0.8,0.9", "--lr", "2e-3", "--grad-clip", "0", "--steps", "3",
        "--out",
        "flags",
      ] + tinyModel)
    #expect(flags.status == 0, "\(flags.errors)")
    #expect(flags.output.contains("immediate"))
    #expect(try kiln.read("file/model.safetensors") == kiln.read("flags/model.safetensors"))
  }

  @Test(arguments: [
    ("layrs: 3", "key 'layrs': Unknown option '--layrs'. Did you mean '--layers'?"),
    ("lr: fast", "key 'lr': The value 'fast' is invalid"), ("lr:", "key 'lr': this is neither"),
    ("steps: [1, 2]", "key 'steps': The value '1,2' is invalid"), ("steps: 1.5", "key 'steps'"),
    ("betas: {a: 1}", "key 'betas': this is neither"), ("- 1", "is not a list of keys and values"),
    ("a: b: c", "is not valid YAML"), ("steps: -1", "--steps is -1"), ("config: run.yaml", "key 'config'"),
  ])
  func refuses(text: String, message: String) throws {
    try kiln.write(text, to: "run.yaml")
    let result = try kiln("train", "--config", "run.yaml", "--data", "text.txt", "--out", "run")
    #expect(result.status == 1)
    #expect(result.errors.hasPrefix("error: "))
    #expect(result.errors.contains(message))
    #expect(!kiln.exists("run"))
  }
}
