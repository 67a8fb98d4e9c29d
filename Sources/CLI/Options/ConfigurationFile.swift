// --config: a YAML file whose keys are the long options of `kiln train`.

import ArgumentParser
import Foundation
import Kiln
import Yams

enum ConfigurationFile {
  /// The options that a file gives. Every key goes through the parser of the command line, so that both take the same
  /// values and refuse the same mistakes.
  static func read(_ path: String) throws(KilnError) -> TrainOptions {
    var arguments: [String] = []
    for (key, value) in try entries(of: path) {
      let added = try self.arguments(for: key, value, in: path)
      _ = try options(added, in: path, key: key)
      arguments += added
    }
    return try options(arguments, in: path, key: nil)
  }

  private static func entries(of path: String) throws(KilnError) -> [(key: String, value: Yams.Node)] {
    let text: String
    do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
      throw KilnError(.file, "cannot read '\(path)'", hint: "--config takes a YAML file such as 'steps: 100'")
    }
    let document: Yams.Node?
    do { document = try compose(yaml: text) } catch {
      let reason = "\(error)".split(separator: "\n").first ?? "it cannot be parsed"
      throw KilnError(.format, "'\(path)' is not valid YAML: \(reason)")
    }
    guard let document, document.null == nil else { return [] }
    guard let mapping = document.mapping else {
      throw KilnError(.format, "'\(path)' is not a list of keys and values", hint: "write lines such as 'steps: 100'")
    }
    return mapping.map { ($0.key.string ?? "", $0.value) }
  }

  /// `--key=value` for a scalar; for a list the same with commas, or once for each file of `data`.
  private static func arguments(for key: String, _ value: Yams.Node, in path: String) throws(KilnError) -> [String] {
    if key == "quiet", let isOn = value.bool { return isOn ? ["--quiet"] : [] }
    if let text = value.scalar?.string, value.null == nil { return ["--\(key)=\(text)"] }
    guard let elements = value.sequence, elements.allSatisfy({ $0.scalar != nil }) else {
      throw KilnError(.format, "'\(path)', key '\(key)': this is neither a value nor a list of values")
    }
    let texts = elements.compactMap(\.scalar?.string)
    return key == "data" ? texts.map { "--data=\($0)" } : ["--\(key)=" + texts.joined(separator: ",")]
  }

  private static func options(_ arguments: [String], in path: String, key: String?) throws(KilnError) -> TrainOptions {
    do {
      return try TrainOptions.parse(arguments)
    } catch {
      let place = key.map { "'\(path)', key '\($0)'" } ?? "'\(path)'"
      throw KilnError(
        .format, "\(place): \(TrainOptions.message(for: error))", hint: "keys are the options of 'kiln train --help'")
    }
  }
}
