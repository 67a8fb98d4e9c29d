// Values as they are written to a config.json.

import Foundation

/// A JSON value to write. Unlike Foundation's encoder it writes the number 8 as 8.0, apart from the integer 8: older
/// versions of transformers insist on a fraction where they expect one.
enum ConfigurationValue {
  case null
  case flag(Bool)
  case integer(Int)
  case number(Double)
  case text(String)
  case list([ConfigurationValue])
  case object([(key: String, value: ConfigurationValue)])

  /// An object with the given keys, in their order, without those of no value.
  static func object<Key: CodingKey>(_ members: KeyValuePairs<Key, ConfigurationValue?>) -> ConfigurationValue {
    .object(members.compactMap { key, value in value.map { (key.stringValue, $0) } })
  }

  /// One token id as a number, several as a list, none as null.
  static func tokens(_ tokens: [Int]) -> ConfigurationValue {
    tokens.count > 1 ? .list(tokens.map { .integer($0) }) : tokens.first.map { .integer($0) } ?? .null
  }

  /// The content of a JSON file of this value.
  var file: Data { Data((json() + "\n").utf8) }

  /// The value as JSON, one member of an object a line.
  private func json(indent: String = "") -> String {
    switch self {
    case .null: "null"
    case .flag(let value): value ? "true" : "false"
    case .integer(let value): String(value)
    case .number(let value): String(value)
    case .text(let value): Self.quoted(value)
    case .list(let values): "[" + values.map { $0.json(indent: indent) }.joined(separator: ", ") + "]"
    case .object(let members):
      "{\n"
        + members.map { "\(indent)  \(Self.quoted($0.key)): \($0.value.json(indent: indent + "  "))" }
        .joined(separator: ",\n") + "\n\(indent)}"
    }
  }

  private static func quoted(_ text: String) -> String {
    "\"" + text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"") + "\""
  }
}
