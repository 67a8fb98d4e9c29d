// Models as Hugging Face lays them out on disk.

import Foundation
import KilnKernels
import OrderedCollections

/// The weights of a model: a folder with `model.safetensors`, or with `model.safetensors.index.json` and its shards,
/// or one safetensors file. Opening maps the files and reads their headers only.
public struct PretrainedDirectory: Sendable {
  static let modelName = "model.safetensors"
  static let indexName = "model.safetensors.index.json"

  /// The folder, where `config.json` and the tokenizer stand.
  public let folder: URL
  /// All tensors of all files by name.
  public let tensors: OrderedDictionary<String, StoredTensor>

  /// Opens a folder or a file. A missing shard, a tensor in two shards or not where the index says is an error.
  public init(_ url: URL) throws(KilnError) {
    let isFolder = (try? url.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory ?? false
    guard isFolder else {
      folder = url.deletingLastPathComponent()
      tensors = try SafetensorsFile(url).tensors
      return
    }
    folder = url
    let model = url.appendingPathComponent(Self.modelName)
    let index = url.appendingPathComponent(Self.indexName)
    if FileManager.default.fileExists(atPath: model.path) {
      tensors = try SafetensorsFile(model).tensors
    } else if FileManager.default.fileExists(atPath: index.path) {
      tensors = try Self.openShards(of: try Self.readIndex(index), in: url)
    } else {
      throw KilnError(
        .file, "'\(url.path)' holds neither \(Self.modelName) nor \(Self.indexName)",
        hint: "save the model with transformers' save_pretrained, which writes safetensors")
    }
  }

  /// The content of a file beside the weights, such as `config.json`.
  public func contents(of name: String) throws(KilnError) -> Data {
    let file = try MappedFile(folder.appendingPathComponent(name))
    return Data(file.copyBytes(in: 0..<file.count))
  }

  /// The index's map from tensor to file name.
  private static func readIndex(_ url: URL) throws(KilnError) -> [(tensor: String, file: String)] {
    let file = try MappedFile(url)
    do throws(KilnError) {
      let json = try JSON(parsing: file.copyBytes(in: 0..<file.count))
      guard let map = json.object?["weight_map"]?.object, !map.isEmpty else {
        throw KilnError(.format, "there is no 'weight_map'")
      }
      return try map.map { (tensor, value) throws(KilnError) in
        guard let name = value.string, isPlainFileName(name) else {
          throw KilnError(.format, "tensor '\(tensor)' is not mapped to the name of a file beside the index")
        }
        return (tensor, name)
      }
    } catch {
      throw error.about("'\(url.path)' is not a valid index")
    }
  }

  private static func openShards(
    of index: [(tensor: String, file: String)], in folder: URL
  ) throws(KilnError) -> OrderedDictionary<String, StoredTensor> {
    var all: OrderedDictionary<String, StoredTensor> = [:]
    var urls: [String: URL] = [:]
    for name in Set(index.map(\.file)).sorted() {
      let url = folder.appendingPathComponent(name)
      urls[name] = url
      for (tensor, stored) in try SafetensorsFile(url).tensors {
        if let other = all.updateValue(stored, forKey: tensor) {
          throw KilnError(.format, "tensor '\(tensor)' stands both in '\(other.file.url.path)' and in '\(url.path)'")
        }
      }
    }
    for (tensor, file) in index where all[tensor]?.file.url != urls[file] {
      throw KilnError(.format, "'\(folder.path)': the index places tensor '\(tensor)' in \(file), which lacks it")
    }
    return all
  }
}

/// Whether a name read from a file names something in the same folder and nowhere else.
func isPlainFileName(_ name: String) -> Bool {
  !name.isEmpty && name != "." && name != ".." && !name.contains("/") && !name.utf8.contains(0)
}
