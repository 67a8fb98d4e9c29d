// The state of a run, written and read.

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

@Suite struct TrainingStateTests {
  private let temporary = TemporaryFolder()
  private var folder: URL { temporary.url }

  private let state = TrainingState(
    step: 7, tokensSeen: 1 << 40, configuration: #"{"arch":"gpt2","path":"/a/é"}"#, numericPlan: "{}",
    methodState: ["growth": #"{"stage":2}"#])

  @Test func readsWhatItWrote() throws {
    let url = folder.appendingPathComponent(TrainingState.fileName)
    let tensor = TensorDescription(
      name: TrainingState.tensorName(slot: "m", parameter: "transformer.wte.weight"), type: .float32, shape: [4, 2])
    try state.write(to: url, tensors: [tensor], contents: writeSample)
    let read = try TrainingState.read(url)
    #expect(read.state == state)
    let stored = try #require(read.tensors["optimizer.m.transformer.wte.weight"])
    #expect(stored.description == tensor)
    #expect(bytes(of: stored) == (try sampleBytes(of: tensor)))
  }

  @Test(arguments: [
    [:], ["kiln": ""], ["kiln": "{}"], ["kiln": "[1]"],
    ["kiln": #"{"step":-1,"tokensSeen":0,"configuration":"","numericPlan":"","methodState":{}}"#],
  ]) func refusesOtherFiles(metadata: [String: String]) throws {
    let url = folder.appendingPathComponent(TrainingState.fileName)
    try SafetensorsWriter.write([], metadata: metadata, to: url, contents: writeSample)
    #expect(failure { _ = try TrainingState.read(url) }?.kind == .format)
  }
}
