// Reading safetensors.

import Foundation
import KilnKernels
import OrderedCollections

/// A safetensors file, mapped into memory: the header is checked as a whole when it is opened, the data is read when
/// it is touched.
public struct SafetensorsFile: Sendable {
  /// By name, in the order of their data.
  public let tensors: OrderedDictionary<String, StoredTensor>
  public let metadata: [String: String]

  /// Opens and checks a file. Every fault of the format is an error that names the file and the tensor.
  public init(_ url: URL) throws(KilnError) {
    let file = try MappedFile(url)
    do {
      let (header, dataStart) = try Self.readHeader(of: file)
      var tensors: OrderedDictionary<String, StoredTensor> = [:]
      tensors.reserveCapacity(header.entries.count)
      for entry in header.entries {
        let range = entry.range.lowerBound + dataStart..<entry.range.upperBound + dataStart
        tensors[entry.description.name] = StoredTensor(description: entry.description, file: file, range: range)
      }
      self.tensors = tensors
      metadata = header.metadata
    } catch {
      throw error.about("'\(url.path)' is not a valid safetensors file")
    }
  }

  private static func readHeader(of file: MappedFile) throws(KilnError) -> (SafetensorsHeader, dataStart: Int) {
    let lengthBytes = SafetensorsHeader.lengthBytes
    guard file.count >= lengthBytes else { throw KilnError(.format, "\(file.count) bytes are too few for a header") }
    let length = file.withBytes(in: 0..<lengthBytes) { bytes in
      UInt64(littleEndian: bytes.unsafeLoadUnaligned(as: UInt64.self))
    }
    guard length <= SafetensorsHeader.maximumLength, Int(length) <= file.count - lengthBytes else {
      throw KilnError(.format, "a header of \(length) bytes does not fit in \(file.count)")
    }
    let dataStart = lengthBytes + Int(length)
    let json = file.copyBytes(in: lengthBytes..<dataStart)
    return (try SafetensorsHeader(parsing: json, dataCount: file.count - dataStart), dataStart)
  }
}
