import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// The version of Kiln; checkpoints carry it.
public let kilnVersion = "0.1.0"

/// The choices, beside the configuration, that the bits of a run depend on. A checkpoint carries them.
struct NumericPlan: Codable, Equatable {
  var device: String
  var isa: String
  var gemm: String
  var microBatch: Int
  /// Of each activation, where they differ.
  var activationBits: [String: Int]?

  /// Where the kernels are.
  var machine: String { "\(device)/\(isa)" + (gemm == "kiln" ? "" : "/\(gemm)") }
}

/// A value as a checkpoint carries it.
func json(of value: some Encodable) -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
}

/// A run's checkpoints: everything that is needed to go on with the same bits.
struct RunState {
  let out: URL
  let model: any LanguageModel
  /// What matrices are kept in.
  let precision: Precision
  /// What products take them in.
  let narrow: Precision
  let optimizer: any Optimizer
  let store: ParameterStore
  /// What the step runs on: another one where the host makes the updates.
  let device: ParameterStore
  let tokenizer: any Tokenizer
  /// Of the training step.
  let memories: [Parameter]
  /// Memory that is free between steps.
  private(set) weak var scratch: Storage?

  static func directory(of out: URL, keep: Int = 2) throws(KilnError) -> CheckpointDirectory {
    try CheckpointDirectory(out.appendingPathComponent("checkpoints"), keep: keep, kilnVersion: kilnVersion)
  }

  /// What a checkpoint carries beside the model, and where it stands in the store: the states of the optimizer and of
  /// the step, and the weights that the model is not evaluated and saved with: those that are averaged, and those of a
  /// device that miss an update.
  private func states(afterStep step: Int) -> [(saved: Parameter, stored: Stored)] {
    let weights = model.parameters.map(precision.operand)
    let iterates = weights.filter { evaluated($0) != nil }
    let stale = host?.isDelayed(afterStep: step) == true ? model.parameters.map(narrow.operand) : []
    let method = offloaded?.base ?? host?.base ?? optimizer
    func saved(_ weight: Parameter) -> Parameter {
      Parameter("optimizer.weight.\(weight.name)", weight.shape, weight.type.dtype, role: .state)
    }
    return weights.flatMap { method.states(of: $0) }.map { ($0, offloaded == nil ? .store($0) : .offloaded($0)) }
      + model.factors.map { ($0, .store($0)) } + memories.map { ($0, .device($0)) }
      + iterates.map { (saved($0), .store($0)) }
      + stale.map { (saved($0), .device($0)) }
  }

  /// What stands for a weight where the model is evaluated and saved; nil for itself.
  private func evaluated(_ weight: Parameter) -> EvaluatedWeight? {
    if let evaluated = optimizer.evaluated(weight) { return evaluated }
    return weight.form.map { EvaluatedWeight(inputs: [weight] + $0.with, operation: $0.operation) }
  }

  /// Where a tensor of a checkpoint stands.
  private enum Stored {
    case store(Parameter)
    case device(Parameter)
    case offloaded(Parameter)
  }

  /// Makes the output directory with the run's configuration in it, complete or not at all: from then on the run can be
  /// resumed, from its beginning until there is a checkpoint.
  static func begin(_ out: URL, _ configuration: TrainingConfiguration) throws(KilnError) {
    let temporary = out.deletingLastPathComponent().appendingPathComponent(".\(out.lastPathComponent).partial")
    do throws(KilnError) {
      try Folder.create(temporary)
      try AtomicFile.write(
        Data(json(of: configuration.withAbsolutePaths).utf8), to: temporary.appendingPathComponent(configurationName))
      try Folder.rename(temporary, to: out)
    } catch {
      throw error.about("--out '\(out.path)' cannot be made")
    }
  }

  /// Refuses a place where something is.
  static func checkIsNew(_ out: URL) throws(KilnError) {
    guard FileManager.default.fileExists(atPath: out.path) else { return }
    throw KilnError(.file, "'\(out.path)' exists", hint: "go on with --resume \(out.path), or choose another --out")
  }

  static let configurationName = "run.json"

  /// Writes the model, as it is evaluated.
  func saveModel(to folder: URL, context: Context) throws(KilnError) {
    try ModelFiles.save(model, tokenizer: tokenizer, to: folder, precision: precision) { (weight) throws(KilnError) in
      guard let evaluated = evaluated(weight) else { return try store.tensor(weight) }
      return try evaluated.tensor(from: store, context: context)
    }
  }

  /// Writes the checkpoint of a step.
  func save(_ state: TrainingState, keep: Int, context: Context) throws(KilnError) -> URL {
    try host?.settle()
    let checkpoint = try Self.directory(of: out, keep: keep).write(step: state.step) { (folder) throws(KilnError) in
      try saveModel(to: folder, context: context)
      let states = states(afterStep: state.step - 1)
      let stored = Dictionary(uniqueKeysWithValues: states)
      try state.write(
        to: folder.appendingPathComponent(TrainingState.fileName),
        tensors: states.flatMap { ModelFiles.descriptions($0.saved) },
        contents: ModelFiles.contents(of: states.map(\.saved)) { (saved) throws(KilnError) in
          try content(of: stored[saved] ?? .store(saved), context: context)
        })
    }
    return checkpoint.folder
  }

  private var offloaded: OffloadedStates? { optimizer as? OffloadedStates }
  private var host: HostUpdates? { optimizer as? HostUpdates }

  /// A persistent tensor; one that is offloaded is there until the next.
  private func content(of stored: Stored, context: Context) throws(KilnError) -> Tensor {
    switch stored {
    case .store(let parameter): return try store.tensor(parameter)
    case .device(let parameter): return try device.tensor(parameter)
    case .offloaded(let parameter):
      let size = parameter.type.byteCount
      let free = scratch.flatMap { $0.byteCount >= size ? $0 : nil }
      let memory = if let free { free } else { try Storage(byteCount: size) }
      let tensor = Tensor(parameter.shape, parameter.type.dtype, in: memory)
      try offloaded?.load(parameter, into: tensor, context: context)
      return tensor
    }
  }

  private static let lossScaling = "loss_scaling"
  private static let noiseScale = "gradient_noise_scale"

  /// What a checkpoint carries of the training methods.
  static func methodState(_ scaler: LossScaler?, _ noise: GradientNoiseScale? = nil) -> [String: String] {
    var state: [String: String] = [:]
    state[lossScaling] = scaler.map { json(of: $0) }
    state[noiseScale] = noise.map { json(of: $0) }
    return state
  }

  /// What a checkpoint carries of a method; nil where the run did not get so far.
  private static func methodState<Value: Decodable>(
    _ key: String, _ what: String, in point: ResumePoint?, isPlausible: (Value) -> Bool
  ) throws(KilnError) -> Value? {
    guard let point, let json = point.state.methodState[key] else { return nil }
    guard let value = try? JSONDecoder().decode(Value.self, from: Data(json.utf8)), isPlausible(value) else {
      throw KilnError(.format, "the checkpoint '\(point.folder?.path ?? point.out.path)' holds no usable \(what)")
    }
    return value
  }

  /// Where loss scaling goes on; a run that did not get so far begins it.
  static func lossScaler(resuming point: ResumePoint?) throws(KilnError) -> LossScaler {
    try methodState(lossScaling, "loss scale", in: point) { (scaler: LossScaler) in scaler.isPlausible } ?? LossScaler()
  }

  /// Where the measurement of the gradient noise scale goes on.
  static func noiseScale(resuming point: ResumePoint?) throws(KilnError) -> GradientNoiseScale {
    try methodState(noiseScale, "gradient noise scale", in: point) { (noise: GradientNoiseScale) in noise.isPlausible }
      ?? GradientNoiseScale()
  }

  /// Fills the optimizer's states, and the weights that it goes on from, from a checkpoint.
  func restoreStates(from folder: URL, step: Int, context: Context) throws(KilnError) {
    let url = folder.appendingPathComponent(TrainingState.fileName)
    let tensors = try TrainingState.read(url).tensors
    for (saved, stored) in states(afterStep: step - 1) {
      guard let found = tensors[saved.name], found.shape == saved.shape else {
        throw KilnError(.format, "'\(url.path)' does not hold '\(saved.name)' as \(saved.shape)")
      }
      let tensor = try ModelFiles.mappedTensor(found)
      switch stored {
      case .store(let parameter): try context.copy(try store.tensor(parameter), tensor)
      case .device(let parameter): try context.copy(try device.tensor(parameter), tensor)
      case .offloaded(let parameter): try offloaded?.store(parameter, from: tensor, context: context)
      }
      found.release()
    }
  }
}

extension TrainingConfiguration {
  /// Where a run can go on: its newest intact checkpoint, or its beginning if it has none.
  public static func resume(_ out: URL) throws(KilnError) -> ResumePoint {
    guard FileManager.default.fileExists(atPath: out.path) else {
      throw KilnError(
        .file, "'\(out.path)' does not exist", hint: "--resume takes the --out directory of an earlier run")
    }
    guard let found = try RunState.directory(of: out).latest() else { return try restart(out) }
    let folder = found.checkpoint.folder
    let state = try TrainingState.read(folder.appendingPathComponent(TrainingState.fileName)).state
    let configuration = try Self(json: Data(state.configuration.utf8), of: folder)
    return ResumePoint(out: out, folder: folder, state: state, configuration: configuration, warnings: found.warnings)
  }

  /// The beginning of a run that ended before its first checkpoint.
  private static func restart(_ out: URL) throws(KilnError) -> ResumePoint {
    guard let data = try? Data(contentsOf: out.appendingPathComponent(RunState.configurationName)) else {
      throw KilnError(.file, "'\(out.path)' holds no run of Kiln", hint: "start anew with --out and another directory")
    }
    let configuration = try Self(json: data, of: out)
    let state = TrainingState(step: 0, tokensSeen: 0, configuration: json(of: configuration), numericPlan: "")
    return ResumePoint(out: out, folder: nil, state: state, configuration: configuration, warnings: [])
  }

  private init(json: Data, of folder: URL) throws(KilnError) {
    guard let configuration = try? JSONDecoder().decode(Self.self, from: json) else {
      throw KilnError(.format, "'\(folder.path)' was made by another version of Kiln: its configuration cannot be read")
    }
    self = configuration
  }

  /// The same with full paths, so that a run goes on from whichever folder it is resumed in.
  var withAbsolutePaths: Self {
    func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    var result = self
    result.data = data.map(absolute)
    result.evalData = evalData.map(absolute)
    result.model = model.map(absolute)
    result.disk = disk.map(absolute)
    result.patternFrom = patternFrom.map(absolute)
    result.tokenizer = tokenizer.map { $0 == "bytes" ? $0 : absolute($0) }
    return result
  }

  /// Flags that a resumed run may change: they do not alter what the steps compute.
  static let mayDiffer: Set<String> = [
    "steps", "epochs", "maxTime", "saveEvery", "keep", "evalEvery", "evalData", "memory", "recompute", "allow",
    "offload", "disk", "deviceMemory",
  ]

  /// Refuses a configuration that differs from the one a checkpoint was made with, naming both values.
  func checkResumable(from old: TrainingConfiguration) throws(KilnError) {
    let mine = withAbsolutePaths.values()
    let theirs = old.withAbsolutePaths.values()
    for key in Set(mine.keys).union(theirs.keys).subtracting(Self.mayDiffer).sorted() where mine[key] != theirs[key] {
      let flag = key.reduce(into: "--") { $0 += $1.isUppercase ? "-" + $1.lowercased() : String($1) }
      throw KilnError(
        .argument,
        "\(flag) is \(mine[key] ?? "the default"), but the run was started with \(theirs[key] ?? "the default")",
        hint: "leave \(flag) out to go on, or start anew with another --out")
    }
  }

  /// Every property that is set, by name, as text.
  private func values() -> [String: String] {
    guard let data = try? JSONEncoder().encode(self),
      let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
    else { return [:] }
    return object.mapValues { ($0 as? [Any]).map { $0.map { "\($0)" }.joined(separator: ",") } ?? "\($0)" }
  }
}

/// Where a run can go on.
public struct ResumePoint: Sendable {
  public let out: URL
  /// The checkpoint; nil for the beginning of the run.
  public let folder: URL?
  public let state: TrainingState
  public let configuration: TrainingConfiguration
  public let warnings: [String]

  /// Nil for the beginning of the run.
  var numericPlan: NumericPlan? { try? JSONDecoder().decode(NumericPlan.self, from: Data(state.numericPlan.utf8)) }
}
