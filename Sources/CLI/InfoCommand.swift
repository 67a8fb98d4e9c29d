// kiln info

import ArgumentParser
import Foundation
import Kiln

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info", abstract: "Show what a model, a run, a safetensors file or a tokenizer holds, or the devices.")

  @Argument(
    help: "A model's or run's folder, a .safetensors file, or a tokenizer.json. (default: none, with --devices)")
  var path: String?

  @Flag(help: "List the devices that --device takes, in place of a path.")
  var devices = false

  @Flag(help: "List the tensors: name, type, shape, size.")
  var tensors = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    if devices { return try listDevices() }
    let description = try ContentDescription(of: try required(path, "<path>"))
    if json {
      try Terminal.print(json: JSONForm(description, withTensors: tensors))
    } else {
      Terminal.print(table: description.rows)
      if !description.densities.isEmpty {
        Terminal.print("\nkept by layer")
        Terminal.print(table: description.densities.map { ($0.name, "\($0.density)") })
      }
      if tensors { list(description.tensors) }
    }
  }

  private func listDevices() throws {
    var rows = [(name: "cpu", value: Context.availableISAs.first ?? ""), (name: "ref", value: "plain loops")]
    var note: String?
    do throws(KilnError) {
      for (index, device) in try Context.openCLDevices().enumerated() {
        rows.append(
          (
            name: "opencl:\(index)",
            value: "\(device.name), \(device.computeUnits) units, \(formatBytes(device.memory)), \(device.version), "
              + "\(device.platform), driver \(device.driver)"
          ))
      }
      if rows.count == 2 { note = "OpenCL is installed, but no driver offers a device" }
    } catch { note = error.message }
    Terminal.print(table: rows)
    if let note { Terminal.note(note) }
  }

  private func list(_ tensors: [ContentDescription.TensorRow]) {
    let names = tensors.map(\.name.count).max() ?? 0
    let shapes = tensors.map { "\($0.shape)".count }.max() ?? 0
    Terminal.print("")
    for tensor in tensors {
      Terminal.print(
        tensor.name.padding(toLength: names + 2, withPad: " ", startingAt: 0)
          + tensor.dtype.padding(toLength: 6, withPad: " ", startingAt: 0)
          + "\(tensor.shape)".padding(toLength: shapes + 2, withPad: " ", startingAt: 0) + formatBytes(tensor.bytes))
    }
  }
}

/// A description as JSON: `path`, `kind`, its facts by name, and `tensors` if they are asked for.
private struct JSONForm: Encodable {
  let description: ContentDescription
  let withTensors: Bool

  init(_ description: ContentDescription, withTensors: Bool) {
    self.description = description
    self.withTensors = withTensors
  }

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    for fact in description.facts {
      let key = Key(stringValue: fact.name.replacing(" ", with: "_"))
      switch fact.value {
      case .text(let text): try values.encode(text, forKey: key)
      case .count(let number), .bytes(let number): try values.encode(number, forKey: key)
      case .real(let number): try values.encode(number, forKey: key)
      case .flag(let flag): try values.encode(flag, forKey: key)
      }
    }
    if !description.densities.isEmpty {
      let densities = Dictionary(uniqueKeysWithValues: description.densities.map { ($0.name, $0.density) })
      try values.encode(densities, forKey: Key(stringValue: "densities"))
    }
    if withTensors { try values.encode(description.tensors, forKey: Key(stringValue: "tensors")) }
  }
}
