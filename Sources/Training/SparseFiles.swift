// Sparse weights in safetensors files: NAME has the values, as [count, block rows, block columns] or, of N:M, as [outputs,
// groups, N]; beside it NAME.offsets and NAME.columns, or NAME.places, have the pattern as `kiln/sparse.h` describes it.

import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers

extension ModelFiles {
  private static let suffixes = (offsets: ".offsets", columns: ".columns", places: ".places", active: ".active")

  /// The shape under which a file has a parameter's values.
  static func fileShape(_ parameter: Parameter) -> Shape {
    guard let pattern = parameter.type.pattern else { return parameter.shape }
    switch pattern.format {
    case .blocks(let rows, let columns): return [pattern.count, rows, columns]
    case .groups(let kept, let group): return [pattern.rows, pattern.columns / group, kept]
    }
  }

  /// A parameter as a file has it: its values and its pattern.
  static func descriptions(_ parameter: Parameter) -> [TensorDescription] {
    [TensorDescription(name: parameter.name, type: StorageType(parameter.type.dtype), shape: fileShape(parameter))]
      + patternTensors(parameter).map {
        TensorDescription(name: $0.name, type: StorageType($0.tensor.dtype), shape: $0.tensor.shape)
      }
  }

  /// The tensors of a parameter's pattern under their names; none of a dense one.
  static func patternTensors(_ parameter: Parameter) -> [(name: String, tensor: Tensor)] {
    guard let pattern = parameter.type.pattern else { return [] }
    let active = pattern.activeFlags.map { [(parameter.name + suffixes.active, $0)] } ?? []
    guard let offsets = pattern.offsets else { return [(parameter.name + suffixes.places, pattern.places)] + active }
    return [(parameter.name + suffixes.offsets, offsets), (parameter.name + suffixes.columns, pattern.places)] + active
  }

  /// The forms in which files have the weights of a model, checked.
  static func forms(of model: any LanguageModel, in files: PretrainedDirectory) throws(KilnError) -> WeightForms {
    var forms = WeightForms()
    for parameter in model.parameters where parameter.projection != nil {
      for name in names(for: parameter.name) {
        guard let values = files.tensors[name] else { continue }
        var (weight, whole) = (parameter, parameter.denseShape)
        if let first = files.tensors[name + ".first"], let starts = files.tensors[name + ".first.offsets"],
          first.shape.rank == 3
        {
          // Two matrices, with as many rows of the first as columns of the second.
          let between = max(starts.shape.count - 1, 0) * first.shape[1]
          let sizes = parameter.outputsByInputs(Tensor(whole, .float32, in: nil)).shape
          whole = [sizes[0], between]
          weight = Parameter(name, whole, projection: .init())
          let before = Parameter(name + ".first", [between, sizes[1]], projection: .init())
          forms.first[parameter.name] = try pattern(of: before, before.name, first, files)
        }
        forms.patterns[parameter.name] = try pattern(of: weight, name, values, files)
        if let down = files.tensors[name + ".down"], down.shape.rank == 2 {
          forms.ranks[parameter.name] = down.shape[0]
        }
      }
    }
    return forms
  }

  /// Fills a weight's tensor from values of another pattern than its own, by way of the whole matrix.
  static func fill(
    _ tensor: Tensor, of weight: Parameter, from stored: Tensor, _ pattern: SparsePattern, context: Context
  ) throws(KilnError) {
    let values = try Tensor(zeros: pattern.valuesShape, weight.type.dtype)
    try context.copy(values, stored.reshaped(pattern.valuesShape))
    let whole = try Tensor(zeros: weight.denseShape, weight.type.dtype)
    try context.scatter(weight.outputsByInputs(whole), from: values, pattern)
    try weight.fill(tensor, from: whole, context: context)
  }

  static func pattern(
    of parameter: Parameter, _ name: String, _ values: StoredTensor, _ files: PretrainedDirectory
  ) throws(KilnError) -> SparsePattern? {
    guard parameter.projection != nil else { return nil }
    let whole = parameter.outputsByInputs(Tensor(parameter.denseShape, .float32, in: nil)).shape
    let (shape, places) = (values.shape, files.tensors[name + suffixes.places])
    guard places != nil || files.tensors[name + suffixes.columns] != nil else { return nil }
    func wrong(_ what: String) -> KilnError {
      KilnError(
        .format, "tensor '\(name)' in '\(files.folder.path)': \(what) for a matrix of \(whole[0]) x \(whole[1])")
    }
    guard shape.rank == 3 else { throw wrong("its values are \(shape), not blocks,") }
    let format: SparsePattern.Format =
      if places == nil {
        .blocks(rows: shape[1], columns: shape[2])
      } else {
        .groups(kept: shape[2], of: shape[1] > 0 ? whole[1] / shape[1] : 0)
      }
    guard (1...256).contains(format.block.rows), (1...256).contains(format.block.columns) else {
      throw wrong("blocks of \(format)")
    }
    let flags = files.tensors[name + suffixes.active].map { $0.withBytes { $0.withUnsafeBytes { $0.map { $0 != 0 } } } }
    let count = places == nil ? shape[0] : shape[0] * shape[1] * shape[2]
    if let flags, flags.count != count { throw wrong("\(flags.count) flags of \(count) blocks") }
    let pattern: SparsePattern
    do throws(KilnError) {
      pattern = try SparsePattern(
        format, rows: whole[0], columns: whole[1], count: count, active: flags.map { $0.count { $0 } })
    } catch { throw wrong(error.message) }
    for (suffix, tensor) in patternTensors(Parameter(name, TensorType(pattern)))
    where !suffix.hasSuffix(suffixes.active) {
      guard let stored = files.tensors[suffix], stored.shape == tensor.shape, stored.type.dtype == tensor.dtype else {
        throw wrong("its pattern lacks '\(suffix)' as \(tensor.dtype.rawValue)\(tensor.shape)")
      }
      tensor.fill(from: try mappedTensor(stored))
    }
    guard pattern.isValid else { throw wrong("its pattern names places that are not there, or not in order,") }
    if let flags { pattern.active?.keep(zip(pattern.kept, flags).filter(\.1).map(\.0)) }
    return pattern
  }
}

extension SparsePattern {
  /// Which of the blocks that are kept products take: bytes of 0 and 1; nil for all.
  fileprivate var activeFlags: Tensor? {
    guard let active, let flags = try? Tensor(zeros: [count], .uint8) else { return nil }
    let taken = Set(active.kept)
    flags.copy(from: kept.map { taken.contains($0) ? UInt8(1) : 0 })
    return flags
  }
}
