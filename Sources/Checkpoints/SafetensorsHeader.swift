// The header of a safetensors file: read and checked, laid out and written.
//
// A file is u64 N (little endian), N bytes of JSON padded with spaces, then the data. The JSON is
// {"__metadata__": {string: string}, name: {"dtype", "shape", "data_offsets": [begin, end]}, …}, offsets relative to
// the start of the data, which the tensors fill without a hole or an overlap.

import KilnKernels
import OrderedCollections

struct SafetensorsHeader: Equatable {
  struct Entry: Equatable {
    var description: TensorDescription
    /// Relative to the start of the data.
    var range: Range<Int>
  }

  static let lengthBytes = 8
  static let maximumLength = 100_000_000
  private static let metadataKey = "__metadata__"

  /// In the order of their data.
  private(set) var entries: [Entry] = []
  private(set) var metadata: [String: String] = [:]

  /// Lays tensors out in the format's own order: widest type first, then by name.
  init(describing tensors: [TensorDescription], metadata: [String: String]) throws(KilnError) {
    self.metadata = metadata
    var names: Set<String> = [Self.metadataKey]
    var end = 0
    for tensor in tensors.sorted(by: Self.precedes) {
      guard names.insert(tensor.name).inserted else {
        throw KilnError(.argument, "tensor name '\(tensor.name)' cannot be used twice in a safetensors file")
      }
      let (next, overflow) = end.addingReportingOverflow(try tensor.byteCount())
      guard !overflow else { throw KilnError(.argument, "the tensors are too large for a file") }
      entries.append(Entry(description: tensor, range: end..<next))
      end = next
    }
  }

  private static func precedes(_ a: TensorDescription, _ b: TensorDescription) -> Bool {
    a.type == b.type ? a.name.utf8.lexicographicallyPrecedes(b.name.utf8) : a.type.rank > b.type.rank
  }

  /// Reads the JSON of a header whose file has `dataCount` bytes after it.
  init(parsing json: [UInt8], dataCount: Int) throws(KilnError) {
    guard json.first == UInt8(ascii: "{"), case .object(let members) = try JSON(parsing: json) else {
      throw KilnError(.format, "the header is not a JSON object")
    }
    for (name, value) in members {
      if name == Self.metadataKey {
        metadata = try Self.parseMetadata(value)
      } else {
        entries.append(try Self.parseEntry(name, value))
      }
    }
    entries.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
    try checkLayout(dataCount: dataCount)
  }

  private static func parseMetadata(_ value: JSON) throws(KilnError) -> [String: String] {
    guard let members = value.object else { throw KilnError(.format, "'__metadata__' is not an object") }
    var metadata: [String: String] = [:]
    for (key, value) in members {
      guard let text = value.string else { throw KilnError(.format, "metadata '\(key)' is not a string") }
      metadata[key] = text
    }
    return metadata
  }

  private static func parseEntry(_ name: String, _ value: JSON) throws(KilnError) -> Entry {
    guard let fields = value.object, fields.count == 3, let code = fields["dtype"]?.string,
      let extents = integers(fields["shape"]), let offsets = integers(fields["data_offsets"])
    else {
      throw KilnError(.format, "tensor '\(name)': needs exactly dtype, shape and data_offsets, with integers")
    }
    guard let type = StorageType(rawValue: code) else {
      throw KilnError(.unsupported, "tensor '\(name)': unknown dtype '\(code)'")
    }
    guard offsets.count == 2, offsets[0] >= 0, offsets[1] >= offsets[0] else {
      throw KilnError(.format, "tensor '\(name)': data_offsets \(offsets) are not a range")
    }
    do {
      let description = TensorDescription(name: name, type: type, shape: try Shape(checking: extents))
      return Entry(description: description, range: offsets[0]..<offsets[1])
    } catch {
      throw error.about("tensor '\(name)'")
    }
  }

  private static func integers(_ value: JSON?) -> [Int]? {
    guard let values = value?.array else { return nil }
    let integers = values.compactMap(\.integer)
    return integers.count == values.count ? integers : nil
  }

  private func checkLayout(dataCount: Int) throws(KilnError) {
    var end = 0
    for entry in entries {
      let tensor = entry.description
      guard entry.range.lowerBound == end else {
        throw KilnError(
          .format,
          "tensor '\(tensor.name)': its data begins at \(entry.range.lowerBound), but the data before ends at \(end)")
      }
      let expected = try tensor.byteCount()
      guard entry.range.count == expected else {
        throw KilnError(
          .format,
          "tensor '\(tensor.name)': shape \(tensor.shape) of \(tensor.type.rawValue) takes \(expected) bytes, "
            + "but its data_offsets span \(entry.range.count)")
      }
      end = entry.range.upperBound
    }
    guard end == dataCount else {
      throw KilnError(
        .format, "the header describes \(end) bytes of data, but \(dataCount) follow it",
        hint: end > dataCount ? "the file is incomplete: copy or download it again" : nil)
    }
  }

  /// Length and JSON as they stand at the start of a file, padded so that the data begins at a multiple of 8.
  func serialized() -> [UInt8] {
    var members: OrderedDictionary<String, JSON> = [:]
    if !metadata.isEmpty {
      let sorted = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSON.string($0.value)) }
      members[Self.metadataKey] = .object(OrderedDictionary(uniqueKeysWithValues: sorted))
    }
    for entry in entries {
      members[entry.description.name] = .object([
        "dtype": .string(entry.description.type.rawValue),
        "shape": .array(entry.description.shape.extents.map { .integer($0) }),
        "data_offsets": .array([.integer(entry.range.lowerBound), .integer(entry.range.upperBound)]),
      ])
    }
    var json = Array(JSON.object(members).text.utf8)
    json += repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8)
    let length = UInt64(json.count)
    return (0..<Self.lengthBytes).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + json
  }
}
