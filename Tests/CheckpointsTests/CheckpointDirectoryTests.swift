// The protocol by which checkpoints come and go, also after kills, damage and full disks.

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

@Suite struct CheckpointDirectoryTests {
  private let temporary = TemporaryFolder()
  private var folder: URL { temporary.url }

  private func directory(keep: Int = 2) throws -> CheckpointDirectory {
    try CheckpointDirectory(folder.appendingPathComponent("out/checkpoints"), keep: keep, kilnVersion: "0.1.0")
  }

  private func write(_ step: Int, _ directory: CheckpointDirectory) throws {
    try directory.write(step: step) { (folder) throws(KilnError) in
      try AtomicFile.write(Data("weights \(step)".utf8), to: folder.appendingPathComponent("model.safetensors"))
      try AtomicFile.write(Data(), to: folder.appendingPathComponent("empty"))
    }
  }

  private func content(_ checkpoint: Checkpoint) throws -> String {
    try String(contentsOf: checkpoint.folder.appendingPathComponent("model.safetensors"), encoding: .utf8)
  }

  private func model(_ step: Int, _ directory: CheckpointDirectory) -> URL {
    directory.folder.appendingPathComponent(CheckpointDirectory.name(ofStep: step) + "/model.safetensors")
  }

  @Test func writesKeepsAndFinds() throws {
    let directory = try directory()
    #expect(try directory.latest() == nil)
    for step in [0, 10, 20, 123_456_789] { try write(step, directory) }
    #expect(try names(in: directory.folder) == ["latest", "step-00000020", "step-123456789"])
    let latest = try String(contentsOf: directory.folder.appendingPathComponent("latest"), encoding: .utf8)
    #expect(latest == "step-123456789")
    let found = try #require(try directory.latest())
    #expect(found.checkpoint.step == 123_456_789 && found.warnings.isEmpty)
    #expect(try content(found.checkpoint) == "weights 123456789")
    #expect(found.checkpoint.manifest.kilnVersion == "0.1.0")
    #expect(found.checkpoint.manifest.files.map(\.name) == ["empty", "model.safetensors"])
    #expect(try names(in: found.checkpoint.folder) == ["empty", "manifest.json", "model.safetensors"])
  }

  @Test func fallsBackWhenDamaged() throws {
    let directory = try directory(keep: 4)
    for step in [10, 20, 30, 40] { try write(step, directory) }
    try Data("weights 4x".utf8).write(to: model(40, directory))
    try Data("weights".utf8).write(to: model(30, directory))
    try FileManager.default.removeItem(at: model(20, directory))
    let found = try #require(try directory.latest())
    #expect(found.checkpoint.step == 10 && found.warnings.count == 3)
    #expect(found.warnings[0].contains("step-00000040") && found.warnings[0].contains("checksum"))
    #expect(found.warnings[1].contains("7 bytes"))
    try FileManager.default.removeItem(at: model(10, directory))
    #expect(failure { _ = try directory.latest() }?.message.contains("is intact") == true)
  }

  @Test func aCheckpointThatWasNotFinishedIsPassedOverAndRemoved() throws {
    let directory = try directory()
    try write(10, directory)
    let manager = FileManager.default
    let partial = directory.folder.appendingPathComponent(".step-00000020.partial")
    try manager.copyItem(at: model(10, directory).deletingLastPathComponent(), to: partial)
    let noManifest = model(30, directory).deletingLastPathComponent()
    try manager.createDirectory(at: noManifest, withIntermediateDirectories: false)
    #expect(try directory.latest()?.checkpoint.step == 10)
    try write(20, directory)
    #expect(try names(in: directory.folder) == ["latest", "step-00000010", "step-00000020"])
    #expect(try directory.latest()?.checkpoint.step == 20)
  }

  @Test func replacesACheckpointOfTheSameStep() throws {
    let directory = try directory(keep: 1)
    try write(10, directory)
    try Data("damaged".utf8).write(to: model(10, directory))
    try write(10, directory)
    #expect(try names(in: directory.folder) == ["latest", "step-00000010"])
    #expect(try directory.latest().map { try content($0.checkpoint) } == "weights 10")
  }

  @Test func aDamagedCheckpointDoesNotCountAsKept() throws {
    let directory = try directory(keep: 2)
    try write(10, directory)
    try write(20, directory)
    try Data("x".utf8).write(to: model(20, directory))
    try write(30, directory)
    #expect(try names(in: directory.folder) == ["latest", "step-00000010", "step-00000030"])
  }

  @Test(.enabled(if: hasFullDevice)) func fullDiskLeavesTheOldOne() throws {
    let directory = try directory()
    try write(10, directory)
    let error = failure {
      try directory.write(step: 20) { (folder) throws(KilnError) in
        let url = folder.appendingPathComponent("model.safetensors")
        try? fillDisk(under: url)
        try SafetensorsWriter.write(SafetensorsTests.tensors, to: url, contents: writeSample)
      }
    }
    #expect(error?.message.contains("No space left") == true)
    #expect(try names(in: directory.folder) == ["latest", "step-00000010"])
    #expect(try directory.latest()?.checkpoint.step == 10)
  }

  @Test func unwritableFolder() throws {
    try Data().write(to: folder.appendingPathComponent("out"))
    let error = failure { try write(1, try directory()) }
    #expect(error?.kind == .file && error?.message.contains("out/checkpoints") == true)
  }

  @Test func refusesWrongArguments() throws {
    #expect(failure { _ = try directory(keep: 0) }?.kind == .argument)
    #expect(failure { try write(-1, try directory()) }?.kind == .argument)
  }

  @Test func onlyExactNamesAreCheckpoints() {
    #expect(CheckpointDirectory.step(ofName: "step-00000100") == 100)
    for name in ["step-100", "step-", "step-+0000100", "step--0000001", "step-00000100.tmp", "latest"] {
      #expect(CheckpointDirectory.step(ofName: name) == nil)
    }
  }

  @Test func mutatedManifestsAreRefusedOrStateWhatIsThere() throws {
    let directory = try directory()
    try write(10, directory)
    let checkpoint = try #require(try directory.latest()).checkpoint
    let url = checkpoint.folder.appendingPathComponent(Manifest.name)
    let manifest = [UInt8](try Data(contentsOf: url))
    var generator = SeededGenerator(state: 2)
    for _ in 0..<300 {
      try Data(mutate(manifest, with: &generator)).write(to: url)
      if let opened = try? Checkpoint(checkpoint.folder), (try? opened.verify()) != nil {
        #expect(opened.step == 10)
        for file in opened.manifest.files { #expect(checkpoint.manifest.files.contains(file)) }
      }
    }
  }
}
