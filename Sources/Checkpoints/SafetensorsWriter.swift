// Writing safetensors.

import Foundation
import KilnKernels

/// Writes safetensors files tensor by tensor, so that a model is never copied as a whole.
public enum SafetensorsWriter {
  /// Gives the elements of one tensor, row-major and little endian, in one or more pieces: as many bytes as described.
  public typealias Contents = (TensorDescription, AtomicFile) throws(KilnError) -> Void

  /// Writes one file, complete or not at all. `contents` is called once a tensor, in the order of the file: widest
  /// type first, then by name.
  public static func write(
    _ tensors: [TensorDescription], metadata: [String: String] = ["format": "pt"], to url: URL, contents: Contents
  ) throws(KilnError) {
    let header = try SafetensorsHeader(describing: tensors, metadata: metadata)
    let file = try AtomicFile(url)
    try file.write(header.serialized().span.bytes)
    for entry in header.entries {
      let start = file.count
      try contents(entry.description, file)
      guard file.count - start == entry.range.count else {
        throw KilnError(
          .argument,
          "tensor '\(entry.description.name)': \(file.count - start) bytes were given, not \(entry.range.count)")
      }
    }
    try file.commit()
  }

  /// Writes a model as Hugging Face lays it out: `model.safetensors`, or, where that would exceed `maxShardBytes`,
  /// `model-00001-of-0000K.safetensors` … and then `model.safetensors.index.json`.
  public static func writeModel(
    _ tensors: [TensorDescription], metadata: [String: String] = ["format": "pt"], in folder: URL,
    maxShardBytes: Int? = nil, contents: Contents
  ) throws(KilnError) {
    let shards = try split(tensors, maxBytes: maxShardBytes ?? .max)
    guard shards.count > 1 else {
      let url = folder.appendingPathComponent(PretrainedDirectory.modelName)
      return try write(tensors, metadata: metadata, to: url, contents: contents)
    }
    var files: [String: String] = [:]
    var totalSize = 0
    for (index, shard) in shards.enumerated() {
      let name = "model-\(padded(index + 1))-of-\(padded(shards.count)).safetensors"
      try write(shard, metadata: metadata, to: folder.appendingPathComponent(name), contents: contents)
      for tensor in shard {
        files[tensor.name] = name
        totalSize += try tensor.byteCount()
      }
    }
    let weights = files.sorted { $0.key < $1.key }.map { ($0.key, JSON.string($0.value)) }
    let index: JSON = .object([
      "metadata": .object(["total_size": .integer(totalSize)]),
      "weight_map": .object(.init(uniqueKeysWithValues: weights)),
    ])
    try AtomicFile.write(Data(index.text.utf8), to: folder.appendingPathComponent(PretrainedDirectory.indexName))
  }

  /// Fills shards in the given order; a tensor larger than a shard has one of its own.
  private static func split(_ tensors: [TensorDescription], maxBytes: Int) throws(KilnError) -> [[TensorDescription]] {
    guard maxBytes > 0 else { throw KilnError(.argument, "the size of a shard must be positive, not \(maxBytes)") }
    var shards: [[TensorDescription]] = [[]]
    var room = maxBytes
    for tensor in tensors {
      let size = try tensor.byteCount()
      if size > room && !shards[shards.count - 1].isEmpty {
        shards.append([])
        room = maxBytes
      }
      shards[shards.count - 1].append(tensor)
      room = max(0, room - size)
    }
    return shards
  }

  private static func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }
}
