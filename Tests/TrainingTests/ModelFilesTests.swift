import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnTraining
import Testing

/// Model directories as other tools leave them: other names, tensors beside the weights, and what is refused.
struct ModelFilesTests {
  /// Writes `gpt2-tiny` again with its tensors renamed, dropped (nil) or reshaped, and `extra` ones of one element.
  private func write(
    to folder: URL, renaming: (String) -> String?, extra: [String] = [], shape: (String, Shape) -> Shape = { $1 }
  ) throws {
    let source = Golden.folder("gpt2-tiny")
    let config = source.appendingPathComponent("config.json")
    try FileManager.default.copyItem(at: config, to: folder.appendingPathComponent("config.json"))
    var contents: [String: [UInt8]] = [:]
    var tensors: [TensorDescription] = []
    for (name, stored) in try SafetensorsFile(source.appendingPathComponent("model.safetensors")).tensors {
      guard let newName = renaming(name) else { continue }
      contents[newName] = stored.withBytes { span in span.withUnsafeBytes { Array($0) } }
      tensors.append(TensorDescription(name: newName, type: stored.type, shape: shape(name, stored.shape)))
    }
    for name in extra {
      contents[name] = [0, 0, 0, 0]
      tensors.append(TensorDescription(name: name, type: StorageType(.float32), shape: [1]))
    }
    let bytes = contents
    try SafetensorsWriter.writeModel(tensors, in: folder) { (description, file) throws(KilnError) in
      let content = bytes[description.name] ?? []
      try file.write(content.span.bytes)
    }
  }

  private func load(_ folder: URL) throws -> ParameterStore {
    let (model, files) = try ModelFiles.open(folder.path)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .mapped, context: try Context(threads: 1))
    return store
  }

  @Test func takesNamesWithoutThePrefixAndOldBuffers() throws {
    let folder = TemporaryFolder()
    try write(
      to: folder.url, renaming: { $0.replacingOccurrences(of: "transformer.", with: "") },
      extra: ["h.0.attn.bias", "h.1.attn.masked_bias", "lm_head.weight"])
    let plain = try load(Golden.folder("gpt2-tiny"))
    let renamed = try load(folder.url)
    #expect(plain.parameters == renamed.parameters && !plain.parameters.isEmpty)
    for parameter in plain.parameters {
      #expect(try plain.tensor(parameter).floats() == renamed.tensor(parameter).floats())
    }
  }

  @Test func refusesUnknownMissingAndMisshapenTensors() throws {
    func message(_ folder: URL) -> (String, String?) {
      do { _ = try load(folder) } catch let error as KilnError { return (error.message, error.hint) } catch {}
      return ("", nil)
    }
    let unknown = TemporaryFolder()
    let missing = TemporaryFolder()
    let misshapen = TemporaryFolder()
    try write(to: unknown.url, renaming: { $0 }, extra: ["transformer.h.0.ln_3.weight"])
    #expect(message(unknown.url).0.hasPrefix("unknown tensor 'transformer.h.0.ln_3.weight' in '"))
    #expect(message(unknown.url).1 == "the nearest valid name is 'transformer.h.0.ln_1.weight'")

    try write(to: missing.url, renaming: { $0 == "transformer.ln_f.bias" ? "transformer.ln_g.bias" : $0 })
    #expect(message(missing.url).0.hasPrefix("tensor 'transformer.ln_f.bias' is missing from '"))
    #expect(message(missing.url).1 == "the nearest name there is 'transformer.ln_g.bias'")

    try write(to: misshapen.url, renaming: { $0 }) { name, shape in name.hasSuffix("wpe.weight") ? [16, 64] : shape }
    #expect(
      message(misshapen.url).0 == "tensor 'transformer.wpe.weight' is [16, 64], but config.json makes it [32, 32]")
  }
}

/// A folder that is removed with the object.
private final class TemporaryFolder {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-test-\(UUID().uuidString)")

  init() { try? FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: url) }
}
