// Models as folders, single files and shards.

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

@Suite struct PretrainedDirectoryTests {
  private let temporary = TemporaryFolder()
  private var folder: URL { temporary.url }

  private func write(_ folder: URL, maxShardBytes: Int? = nil) throws {
    try SafetensorsWriter.writeModel(
      SafetensorsTests.tensors, in: folder, maxShardBytes: maxShardBytes, contents: writeSample)
  }

  private func expectSample(_ directory: PretrainedDirectory) throws {
    #expect(Set(directory.tensors.keys) == Set(SafetensorsTests.tensors.map(\.name)))
    for tensor in SafetensorsTests.tensors {
      let stored = try #require(directory.tensors[tensor.name])
      #expect(stored.description == tensor)
      #expect(bytes(of: stored) == (try sampleBytes(of: tensor)))
    }
  }

  @Test func singleFile() throws {
    try write(folder)
    try Data("{}".utf8).write(to: folder.appendingPathComponent("config.json"))
    #expect(try names(in: folder) == ["config.json", "model.safetensors"])
    try expectSample(try PretrainedDirectory(folder))
    let single = try PretrainedDirectory(folder.appendingPathComponent("model.safetensors"))
    try expectSample(single)
    #expect(try single.contents(of: "config.json") == Data("{}".utf8))
    #expect(failure { _ = try single.contents(of: "tokenizer.json") }?.kind == .file)
  }

  @Test func shards() throws {
    try write(folder, maxShardBytes: 12)
    #expect(
      try names(in: folder) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
      ])
    try expectSample(try PretrainedDirectory(folder))
    try FileManager.default.removeItem(at: folder.appendingPathComponent("model-00002-of-00002.safetensors"))
    #expect(failure { _ = try PretrainedDirectory(folder) }?.message.contains("model-00002-of") == true)
  }

  @Test func aTensorLargerThanAShardStandsAlone() throws {
    try write(folder, maxShardBytes: 1)
    try expectSample(try PretrainedDirectory(folder))
    #expect(try names(in: folder).contains("model-00004-of-00004.safetensors"))
  }

  @Test(arguments: [
    #"{"weight_map":{}}"#, #"{"weight_map":{"a":1}}"#, #"{"weight_map":{"a":"../x.safetensors"}}"#, "{}", "[",
    #"{"weight_map":{"a":"/etc/passwd"}}"#, #"{"weight_map":{"a":""}}"#, #"{"weight_map":{"a":"a\u0000"}}"#,
    #"{"weight_map":{"a":"x.safetensors","zz":"x.safetensors"}}"#,
    #"{"weight_map":{"a":"x.safetensors","b":"y.safetensors"}}"#,
  ]) func refusesWrongIndexes(index: String) throws {
    for name in ["x.safetensors", "y.safetensors"] {
      try SafetensorsWriter.write(
        SafetensorsTests.tensors, to: folder.appendingPathComponent(name), contents: writeSample)
    }
    try Data(index.utf8).write(to: folder.appendingPathComponent("model.safetensors.index.json"))
    #expect(failure { _ = try PretrainedDirectory(folder) }?.kind == .format)
  }

  @Test func refusesAFolderWithoutWeights() throws {
    #expect(failure { _ = try PretrainedDirectory(folder) }?.hint?.contains("save_pretrained") == true)
    let missing = failure { _ = try PretrainedDirectory(folder.appendingPathComponent("none")) }
    #expect(missing?.message.contains("No such file") == true)
  }
}
