import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnTraining
import Testing

/// Models and training against PyTorch and transformers.
struct GoldenTests {
  static let hosts: [Context.Device] = [.cpu, .ref]
  static let devices = hosts + openCL
  /// None where none is installed.
  static let openCL: [Context.Device] = ((try? Context.openCLDevices()) ?? []).isEmpty ? [] : [.opencl(0)]

  @Test(arguments: Golden.names, devices) func everyGradientByName(_ name: String, _ device: Context.Device) throws {
    let golden = try Golden.load(name)
    let step = try golden.firstStep(of: name, on: device, in: .fp32)
    #expect(abs(step.loss / golden.runs[0].loss[0] - 1) < 1e-5)
    let expected = try SafetensorsFile(Golden.folder(name).appendingPathComponent("gradients.safetensors")).tensors
    #expect(Set(expected.keys) == Set(step.gradients.keys))
    for (parameter, values) in step.gradients {
      let error = relativeError(values, floats(try #require(expected[parameter])))
      #expect(error < 1e-4, "\(parameter): \(error)")
    }
  }

  @Test(arguments: Golden.names) func tenStepsOfEveryOptimizer(_ name: String) throws {
    let golden = try Golden.load(name)
    for run in golden.runs + [golden.accumulation] { try check(run, of: golden, name, device: .cpu) }
    for device in Self.devices.dropFirst() {
      try check(try #require(golden.runs.last), of: golden, name, device: device)
    }
  }

  /// Optimizers beyond SGD and Adam, by PyTorch, lion-pytorch, schedulefree, timm and transformers.
  @Test(arguments: ["gpt2-tiny", "llama-tiny"]) func tenStepsOfOtherOptimizers(_ name: String) throws {
    struct Runs: Decodable { var runs: [Golden.Run] }
    let golden = try Golden.load(name)
    for run in try (Golden.decode("optimizers.json", of: name) as Runs).runs {
      try check(run, of: golden, name, device: .cpu)
      for device in Self.openCL { try check(run, of: golden, name, device: device) }
    }
  }

  private func check(_ run: Golden.Run, of golden: Golden, _ name: String, device: Context.Device) throws {
    let metrics = try golden.train(run, of: name, on: device)
    for (step, loss, norm) in zip(metrics, zip(run.loss, run.gradNorm)).map({ ($0, $1.0, $1.1) }) {
      #expect(
        abs(step.loss / loss - 1) < 1e-4,
        "\(name), \(run.testDescription), step \(step.step): loss \(step.loss), not \(loss)")
      let found = try #require(step.gradNorm)
      #expect(
        abs(found / norm - 1) < 1e-4,
        "\(name), \(run.testDescription), step \(step.step): norm \(found), not \(norm)")
    }
  }

  @Test(arguments: Golden.names, devices) func greedyGenerationTokenForToken(_ name: String, _ device: Context.Device)
    throws
  {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(device: device, threads: 2)
    let store = ParameterStore(on: context)
    try ModelFiles.load(model, from: files, into: store, access: .mapped, context: context)
    let generator = Generator(model, context: context, store: store)
    for example in golden.generation {
      let tokens = try generator.generate(after: example.prompt, count: example.tokens.count, sampling: Sampling())
      #expect(tokens == example.tokens)
    }
  }

  @Test(arguments: Golden.names) func evaluation(_ name: String) throws {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(threads: 2)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .mapped, context: context)
    let evaluator = try Evaluator(model, batch: 3, time: golden.context, context: context, store: store)
    let result = try evaluator.evaluate(Corpus(tokens: golden.tokens))
    #expect(result.tokens == golden.eval.tokens)
    #expect(abs(result.loss / golden.eval.loss - 1) < 1e-5)
  }
}
