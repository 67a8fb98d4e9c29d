// What the world can do wrong: one clear line, exit code 1, nothing left behind.

import Foundation
import Testing

@Suite struct BadInputTests {
  let kiln: Kiln
  init() throws {
    kiln = try Kiln()
    try kiln.write(sampleText, to: "text.txt")
    try kiln.write("", to: "empty.txt")
    try kiln.write("too short", to: "short.txt")
    try kiln.write(Data([0x7F, 0x45, 0x4C, 0x46, 0, 1, 0xFF, 0xFE, 0x80]), to: "binary.bin")
    try kiln.write("kept", to: "taken/file")
  }

  private func expectFailure(_ arguments: [String], _ message: String) throws {
    let result = try kiln.run(arguments)
    #expect(result.status == 1, "\(arguments)")
    let lines = result.errors.split(separator: "\n")
    #expect(lines.first?.hasPrefix("error: ") == true && lines.count <= 2, "\(result.errors)")
    #expect(lines.count < 2 || lines[1].hasPrefix("hint: "))
    #expect(result.errors.contains(message), "\(result.errors)")
    #expect(!kiln.exists("run"))
  }

  @Test func ofTraining() throws {
    func expectRefused(_ arguments: [String], _ message: String) throws {
      try expectFailure(["train", "--out", "run", "--steps", "2"] + arguments, message)
    }
    try expectRefused(["--data", "missing.txt"], "missing.txt")
    try expectRefused(["--data", "empty.txt"], "empty.txt is empty")
    try expectRefused(["--data", "binary.bin"], "binary.bin is not UTF-8 text")
    try expectRefused(["--data", "short.txt"] + tinyModel, "has 9 tokens, but a context of 32")
    try expectRefused(["--data", "text.txt", "--vocab-size", "100"], "--vocab-size 100 is smaller")
    try expectRefused(["--data", "text.txt", "--model", "taken", "--layers", "2"], "--layers describes a new model")
    try expectRefused(["--data", "text.txt", "--model", "nowhere"], "'nowhere' does not exist")
    try expectRefused(["--data", "text.txt", "--batch", "3", "--micro-batch", "2"], "is not a multiple")
    try expectRefused(["--data", "text.txt", "--threads", "0"], "0 threads")
    for flag in ["layers", "heads", "width", "hidden", "vocab-size", "context", "batch", "micro-batch", "keep"] {
      try expectRefused(["--data", "text.txt", "--\(flag)", "0"], "--\(flag) is 0")
    }
    try expectRefused(["--data", "text.txt", "--steps", "-1"], "--steps is -1")
  }

  @Test func ofSparsity() throws {
    func expectRefused(_ arguments: String, _ message: String) throws {
      let options = arguments.split(separator: " ").map(String.init)
      try expectFailure(["train", "--out", "run", "--data", "text.txt"] + tinyModel + options, message)
    }
    try expectRefused("--density 0.5", "--density is of sparse weights, and nothing makes them sparse")
    for density in ["0", "1.5", "-1", "nan"] {
      try expectRefused("--sparsity set --density=\(density)", "not above 0 and at most 1")
    }
    try expectRefused("--sparsity snip --pattern-every 5", "--pattern-every means nothing to --sparsity snip")
    try expectRefused("--sparsity ste --block 4x4", "--sparsity ste keeps N of each M, and --block is 4x4")
    try expectRefused("--sparsity sr-ste --density 0.5", "--density means nothing to --sparsity sr-ste")
    try expectRefused("--sparsity sr-ste --block 3:7", "groups of 7 do not fit")
    try expectRefused("--sparsity magnitude --pattern-from nowhere", "'nowhere' does not exist")
    try expectRefused("--sparsity rigl --block 2:4 --density 0.1", "--block 2:4 keeps 0.5, and --density is 0.1")
    try expectRefused("--sparsity rigl --block 2:7", "groups of 7 do not fit")
    try expectRefused("--sparsity rigl --drop-fraction 2", "--drop-fraction is 2.0, not in 0 ... 1")
    try expectRefused("--sparsity rigl --optimizer muon", "--optimizer muon updates whole matrices")
    try expectRefused("--sparsity rigl --offload optimizer", "moves states with the pattern")
  }

  @Test func ofMemory() throws {
    func expectRefused(_ arguments: String, _ message: String) throws {
      for command in [["plan"], ["train", "--out", "run"]] {
        let options = arguments.split(separator: " ").map(String.init)
        try expectFailure(command + ["--data", "text.txt"] + tinyModel + options, message)
      }
    }
    try expectRefused("--memory 10MB", "--memory 9.5 MiB is too small: the run takes at least")
    try expectRefused("--allow lossy", "--allow says how to keep a budget, and there is none")
    try expectRefused("--device-memory 64KiB", "--device-memory 64 KiB is too small: the device takes at least")
    try expectRefused("--delay-update 3", "--delay-update delays updates of the host, and the device makes them")
    try expectRefused("--offload optimizer,states", "--offload optimizer has the states on the host")
    try expectRefused(
      "--offload states --optimizer schedule-free", "--offload states means nothing to --optimizer schedule-free")
    try expectRefused("--memory 1GB --recompute sqrt", "--memory chooses what runs again, and --recompute is sqrt")
    for (flag, value) in [("memory", "2XB"), ("memory", "-1GB"), ("memory", "0"), ("recompute", "every-0")]
      + [("compress-activations", "3"), ("compress-activations", "auto-9"), ("offload", "states,weights")]
    {
      let result = try kiln("plan", "--data", "text.txt", "--\(flag)=\(value)")
      #expect(result.status == 64 && result.errors.contains("The value '\(value)' is invalid for '--\(flag)"))
    }
  }

  @Test func ofOptimizers() throws {
    func expectRefused(_ arguments: String, _ message: String) throws {
      let options = arguments.split(separator: " ").map(String.init)
      try expectFailure(["train", "--out", "run", "--data", "text.txt", "--optimizer"] + options, message)
    }
    try expectRefused("adamw --momentum 0.5", "--momentum 0.5 means nothing to --optimizer adamw")
    try expectRefused("lars --betas 0.9,0.99", "--betas 0.9,0.99 means nothing to --optimizer lars")
    try expectRefused("lion --eps 1e-8", "--eps 1e-08 means nothing to --optimizer lion")
    try expectRefused("lion --betas 1,0.9", "beta 1.0 is not in 0 ..< 1")
    try expectRefused("heavy-ball --momentum 0", "heavy-ball without momentum")
    try expectRefused("lamb --optimizer-state 8bit", "--optimizer lamb does not keep its state in 8bit")
    try expectRefused("muon --momentum 1", "momentum 1.0 is not in 0 ..< 1")
    try expectRefused("schedule-free --betas 0,0.9", "the first beta of schedule-free is 0")
    try expectRefused(
      "lion --optimizer-state 8bit-linear", "--optimizer-state 8bit-linear means nothing to --optimizer lion")
    try expectRefused("adamw --master none", "--master none keeps weights in bf16, and --precision is fp32")
    try expectRefused(
      "adafactor --master kahan --precision bf16", "--master kahan means nothing to --optimizer adafactor")
    try expectRefused("schedule-free --optimizer-state 8bit", "schedule-free does not keep its state in 8bit")
    try expectRefused("adamw --l1 0.1", "--l1 0.1 means nothing to --optimizer adamw")
    try expectRefused("apg --l1 -1", "--l1 is -1.0, not a number >= 0")
    try expectRefused("apg --weight-decay 0.1", "--weight-decay 0.1 means nothing to --optimizer apg")
    try expectRefused("proximal-sgd --box 0.1,-0.1", "--box 0.1,-0.1 is not a range")
    try expectRefused("adafactor --optimizer-state bf16", "--optimizer adafactor does not keep its state in bf16")
  }

  @Test func ofOutput() throws {
    let data = ["train", "--data", "text.txt", "--steps", "2"] + tinyModel
    try expectFailure(data + ["--out", "taken"], "taken' exists")
    #expect(try kiln.read("taken/file") == Data("kept".utf8))
    try expectFailure(data + ["--out", "/dev/null/run"], "/dev/null/run")
    try expectFailure(["train", "--resume", "taken"], "holds no run of Kiln")
    try expectFailure(["train", "--resume", "nowhere"], "does not exist")
  }

  @Test func ofModels() throws {
    let made = try kiln.run(["train", "--data", "text.txt", "--steps", "1", "--out", "model", "--quiet"] + tinyModel)
    #expect(made.status == 0, "\(made.errors)")
    let eval = ["eval", "--model", "model", "--data", "text.txt"]
    try expectFailure(eval + ["--context", "0"], "--context is 0")
    try expectFailure(eval + ["--context", "33"], "--context 33 is longer")
    try expectFailure(["eval", "--model", "model", "--data", "empty.txt"], "empty")
    try expectFailure(["generate", "--model", "model", "--prompt", ""], "the prompt is empty")
    try expectFailure(["generate", "--model", "model", "--prompt-tokens", "1,256"], "token 256 is outside")
    try expectFailure(["generate", "--model", "model", "--prompt", "a", "--top-p", "0"], "top-p 0.0")
    try expectFailure(["generate", "--model", "model", "--prompt", "a", "--max-tokens", "0"], "--max-tokens is 0")

    let weights = try kiln.read("model/model.safetensors")
    let configuration = try kiln.read("model/config.json")
    try kiln.write(weights.prefix(weights.count / 2), to: "model/model.safetensors")
    try expectFailure(eval, "is not a valid safetensors file")
    try kiln.write(weights, to: "model/model.safetensors")
    try kiln.write(configuration.prefix(configuration.count / 2), to: "model/config.json")
    try expectFailure(eval, "config.json")
    let wider = String(decoding: configuration, as: UTF8.self).replacing("\"n_embd\": 32", with: "\"n_embd\": 64")
    try kiln.write(wider, to: "model/config.json")
    try expectFailure(eval, "config.json makes it")
    try expectFailure(["info", "text.txt"], "is no model, run, safetensors file or tokenizer")
  }
}
