import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers

/// Models in Hugging Face directories: reading one into memory, writing one out.
public enum ModelFiles {
  /// The model that a directory (or the directory of a safetensors file) describes.
  public static func open(_ path: String) throws(KilnError) -> (model: any LanguageModel, files: PretrainedDirectory) {
    let url = URL(fileURLWithPath: path)
    guard FileManager.default.fileExists(atPath: path) else {
      throw KilnError(
        .file, "'\(path)' does not exist", hint: "--model takes a directory with config.json and model.safetensors")
    }
    let files = try PretrainedDirectory(url)
    let configuration = try ModelConfiguration(json: try files.contents(of: "config.json"))
    let model = configuration.makeModel()
    let forms = try forms(of: model, in: files)
    return (forms.isDense ? model : configuration.makeModel(forms), files)
  }

  /// The tokenizer by its name (`bytes` or a path), else the one beside the model, else bytes.
  public static func tokenizer(named name: String?, of model: String?) throws(KilnError) -> any Tokenizer {
    if let name { return name == "bytes" ? ByteTokenizer() : try BPETokenizer(contentsOf: URL(fileURLWithPath: name)) }
    guard let model else { return ByteTokenizer() }
    let url = URL(fileURLWithPath: model)
    let folder = url.pathExtension == "safetensors" ? url.deletingLastPathComponent() : url
    let file = folder.appendingPathComponent("tokenizer.json")
    return FileManager.default.fileExists(atPath: file.path) ? try BPETokenizer(contentsOf: file) : ByteTokenizer()
  }

  /// How a parameter's values get into the store.
  public enum Access {
    /// Copied into memory of its own, for training.
    case copied
    /// Used where the file is mapped if it has the parameter's type, for inference; copied to a device with a memory of
    /// its own.
    case mapped
  }

  /// Fills the store from the files. Every parameter must be there with its shape, and every tensor must be one that the
  /// model knows.
  /// - Parameter precision: what matrices are kept in.
  public static func load(
    _ model: any LanguageModel, from files: PretrainedDirectory, into store: ParameterStore, access: Access,
    precision: Precision = .fp32, context: Context
  ) throws(KilnError) {
    var unused = Set(files.tensors.keys)
    for parameter in model.savedParameters {
      guard let name = names(for: parameter.name).first(where: { files.tensors[$0] != nil }),
        let stored = files.tensors[name]
      else {
        throw KilnError(
          .format, "tensor '\(parameter.name)' is missing from '\(files.folder.path)'",
          hint: nearest(to: parameter.name, among: unused).map { "the nearest name there is '\($0)'" })
      }
      unused.remove(name)
      for (pattern, _) in patternTensors(Parameter(name, parameter.type)) { unused.remove(pattern) }
      let kept = precision.operand(parameter)
      if let pattern = try pattern(of: parameter, name, stored, files) {
        for (name, _) in patternTensors(Parameter(name, TensorType(pattern))) { unused.remove(name) }
        if !pattern.keepsTheSame(as: parameter.type.pattern) {
          try fill(try store.tensor(kept), of: kept, from: try mappedTensor(stored), pattern, context: context)
          continue
        }
      }
      let isWhole = stored.shape == parameter.denseShape
      guard isWhole || stored.shape == fileShape(parameter) else {
        throw KilnError(
          .format, "tensor '\(name)' is \(stored.shape), but config.json makes it \(parameter.denseShape)")
      }
      guard isWhole == (parameter.type.pattern == nil) else {
        try kept.fill(try store.tensor(kept), from: try mappedTensor(stored), context: context)
        stored.release()
        continue
      }
      let tensor = try mappedTensor(stored).reshaped(parameter.shape)
      if access == .mapped, tensor.dtype == kept.type.dtype, !context.hasOwnMemory {
        store.bind(kept, to: tensor)
      } else {
        try context.copy(try store.tensor(kept), tensor)
        stored.release()
      }
    }
    if let stranger = unused.filter({ !isHarmless($0, model) }).min() {
      throw KilnError(
        .format, "unknown tensor '\(stranger)' in '\(files.folder.path)'",
        hint: nearest(to: stranger, among: model.parameters.map(\.name)).map { "the nearest valid name is '\($0)'" })
    }
  }

  /// Writes config.json, model.safetensors and the tokenizer's files.
  /// - Parameters:
  ///   - precision: what matrices are kept in.
  ///   - tensor: what is written for a weight.
  public static func save(
    _ model: any LanguageModel, tokenizer: any Tokenizer, to folder: URL, precision: Precision = .fp32,
    tensor: @escaping (Parameter) throws(KilnError) -> Tensor
  ) throws(KilnError) {
    let configuration = model.configuration.stored(as: precision.dtype)
    try AtomicFile.write(configuration.json(), to: folder.appendingPathComponent("config.json"))
    try tokenizer.save(to: folder)
    let weights = model.savedParameters.map(precision.operand)
    try SafetensorsWriter.writeModel(
      weights.flatMap(descriptions), in: folder, contents: contents(of: weights, tensor))
  }

  /// What a writer asks for: a parameter's bytes by name.
  static func contents(
    of parameters: [Parameter], _ tensor: @escaping (Parameter) throws(KilnError) -> Tensor
  ) -> SafetensorsWriter.Contents {
    let byName = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0) })
    let patterns = Dictionary(uniqueKeysWithValues: parameters.flatMap(patternTensors).map { ($0.name, $0.tensor) })
    return { (description: TensorDescription, file: AtomicFile) throws(KilnError) in
      var found = patterns[description.name]
      if let parameter = byName[description.name] { found = try tensor(parameter) }
      guard let tensor = found else { return }
      var failure: KilnError?
      tensor.withBytes { bytes in
        do throws(KilnError) { try file.write(bytes.bytes) } catch { failure = error }
      }
      if let failure { throw failure }
    }
  }

  /// A tensor that looks into the mapped file.
  static func mappedTensor(_ stored: StoredTensor) throws(KilnError) -> Tensor {
    guard let dtype = stored.type.dtype else {
      throw KilnError(
        .unsupported, "tensor '\(stored.name)' is of type \(stored.type.rawValue), which Kiln does not compute with")
    }
    let storage = stored.withBytes { span in
      span.withUnsafeBytes { Storage(borrowing: $0, owner: stored.file) }
    }
    return Tensor(stored.shape, dtype, in: storage)
  }

  /// The names that files use for a parameter: some leave the model's prefix out.
  static func names(for name: String) -> [String] {
    let prefixes = ["transformer.", "model."].filter(name.hasPrefix)
    return [name] + prefixes.map { String(name.dropFirst($0.count)) }
  }

  /// Tensors that older files hold beside the weights, and a head that repeats the tied embedding.
  private static func isHarmless(_ name: String, _ model: any LanguageModel) -> Bool {
    name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias") || name.hasSuffix("rotary_emb.inv_freq")
      || (name == "lm_head.weight" && model.configuration.tiesWordEmbeddings)
  }
}

/// The candidate that differs by the fewest edits, if it is near enough to be a slip.
public func nearest(to name: String, among candidates: some Sequence<String>) -> String? {
  candidates.map { (distance($0, name), $0) }.min { ($0.0, $0.1) < ($1.0, $1.1) }
    .flatMap { $0.0 <= max(name.count / 3, 2) ? $0.1 : nil }
}

/// Levenshtein's edit distance.
private func distance(_ a: String, _ b: String) -> Int {
  let a = Array(a.utf8)
  let b = Array(b.utf8)
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, y) in b.enumerated() {
      let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (x == y ? 0 : 1))
      diagonal = row[j + 1]
      row[j + 1] = next
    }
  }
  return row[b.count]
}
