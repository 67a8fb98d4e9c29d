// What a run needs beyond its weights to go on exactly where it stopped.

import Foundation
import KilnKernels
import OrderedCollections

/// The state of a run, as `training_state.safetensors` holds it: these values as JSON under the metadata key `kiln`,
/// and the optimizer's slots as tensors `optimizer.<slot>.<parameter>`.
public struct TrainingState: Sendable, Codable, Equatable {
  /// The file's name in a checkpoint.
  public static let fileName = "training_state.safetensors"
  private static let metadataKey = "kiln"

  /// Steps taken so far.
  public var step: Int
  public var tokensSeen: Int
  /// The run's whole configuration, as JSON.
  public var configuration: String
  /// The choices that the bits of the results depend on, as JSON.
  public var numericPlan: String
  /// What each training method keeps, by the method's name.
  public var methodState: [String: String]

  public init(
    step: Int, tokensSeen: Int, configuration: String, numericPlan: String, methodState: [String: String] = [:]
  ) {
    self.step = step
    self.tokensSeen = tokensSeen
    self.configuration = configuration
    self.numericPlan = numericPlan
    self.methodState = methodState
  }

  /// The name of a parameter's slot of optimizer state; a slot's name has no dot.
  public static func tensorName(slot: String, parameter: String) -> String { "optimizer.\(slot).\(parameter)" }

  /// Writes the file; `contents` gives each tensor's bytes.
  public func write(
    to url: URL, tensors: [TensorDescription], contents: SafetensorsWriter.Contents
  ) throws(KilnError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(self) else { throw KilnError(.format, "the training state cannot be encoded") }
    let metadata = ["format": "pt", Self.metadataKey: String(decoding: data, as: UTF8.self)]
    try SafetensorsWriter.write(tensors, metadata: metadata, to: url, contents: contents)
  }

  /// Reads the file: the state, and its tensors by name.
  public static func read(
    _ url: URL
  ) throws(KilnError) -> (state: TrainingState, tensors: OrderedDictionary<String, StoredTensor>) {
    let file = try SafetensorsFile(url)
    guard let json = file.metadata[metadataKey],
      let state = try? JSONDecoder().decode(Self.self, from: Data(json.utf8)), state.step >= 0, state.tokensSeen >= 0
    else { throw KilnError(.format, "'\(url.path)' does not hold the training state of a run") }
    return (state, file.tensors)
  }
}
