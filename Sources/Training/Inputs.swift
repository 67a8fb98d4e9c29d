import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers

/// What a run works on: tokenizer, model with its files, and tokens.
struct Inputs {
  let tokenizer: any Tokenizer
  private(set) var model: any LanguageModel
  /// Where the weights come from; nil for a new model.
  let pretrained: PretrainedDirectory?
  let corpus: Corpus
  let evalCorpus: Corpus?
  let context: Int
  /// What is to be said of the patterns that were chosen.
  private(set) var notices: [String] = []

  /// - Parameter kernels: what patterns of sparse weights are searched with.
  init(
    _ configuration: TrainingConfiguration, resuming point: ResumePoint?, kernels: Context
  ) throws(KilnError) {
    let source = point?.folder?.path ?? configuration.model
    let opened = try source.map { (path) throws(KilnError) in try ModelFiles.open(path) }
    let tokenizer = try ModelFiles.tokenizer(named: point?.folder == nil ? configuration.tokenizer : nil, of: source)
    self.tokenizer = tokenizer
    corpus = try Corpus(files: configuration.data.map(URL.init(fileURLWithPath:)), tokenizer: tokenizer)
    evalCorpus = try configuration.evalData.map { (path) throws(KilnError) in
      try Corpus(files: [URL(fileURLWithPath: path)], tokenizer: tokenizer)
    }
    if let opened {
      model = opened.model
      pretrained = opened.files
    } else {
      let needed = max(tokenizer.vocabularySize, Int(corpus.maximumToken() ?? 0) + 1)
      model = try configuration.newModel(vocabulary: needed, endOfText: tokenizer.endOfText).makeModel()
      pretrained = nil
    }
    let limit = model.configuration.contextLength
    context = configuration.context ?? min(limit, TrainingConfiguration.defaultContext)
    guard context <= limit else {
      throw KilnError(
        .argument, "--context \(context) is longer than the model's \(limit) positions", hint: "give at most \(limit)")
    }
    for corpus in [corpus, evalCorpus].compactMap({ $0 }) {
      try corpus.check(vocabularySize: model.configuration.vocabularySize)
    }
    try chooseForms(configuration, isNew: point?.folder == nil, kernels)
  }

  /// Gives the model the forms of weights that its run is to have.
  private mutating func chooseForms(
    _ configuration: TrainingConfiguration, isNew: Bool, _ kernels: Context
  ) throws(KilnError) {
    // A sparse model is pruned further.
    if isNew, configuration.sparsity == .magnitude { model = model.configuration.makeModel() }
    if let penalty = try configuration.slimmingPenalty(for: model) {
      model = model.configuration.makeModel(WeightForms(slimming: penalty))
    } else if let mask = try configuration.mask(for: model) {
      model = model.configuration.makeModel(WeightForms(mask: mask))
    } else if isNew, let forms = try configuration.forms(for: self, context: kernels) {
      model = model.configuration.makeModel(forms)
      notices = Self.collapse(of: forms.patterns)
    }
    guard configuration.sparsity == .topKAST else { return }
    for pattern in model.parameters.compactMap(\.type.pattern) {
      pattern.decay = configuration.maskDecay ?? TopKAST.decay
    }
  }

  /// Layers of which all but nothing is kept.
  private static func collapse(of patterns: SparsePatterns) -> [String] {
    let vanished = patterns.filter { $0.value.count == 1 && $0.value.blocks != (1, 1) }.keys.sorted()
    guard let first = vanished.first else { return [] }
    return [
      "collapse: of \(vanished.count) of \(patterns.count) layers a single block is kept, such as '\(first)'; "
        + "--layer-density erk or a higher --density keeps more"
    ]
  }

  /// What deals out the batches of a run.
  func source(_ configuration: TrainingConfiguration) throws(KilnError) -> BatchSource {
    let order: BatchSource.Order = configuration.order == .shuffled ? .shuffled(seed: configuration.seed) : .sequential
    return try BatchSource(corpus, context: context, batch: configuration.batch, order: order)
  }

  /// Of the run; nil where nothing but time ends it.
  func steps(_ configuration: TrainingConfiguration) throws(KilnError) -> Int? {
    configuration.steps(sequences: try source(configuration).sequenceCount)
  }

  /// Gives a store all of the weights of which a part is trained, as training begins with them.
  func fillWhole(_ store: ParameterStore, seed: UInt64, context: Context) throws(KilnError) {
    let weights = model.parameters.filter { $0.type.pattern?.active != nil }
    guard !weights.isEmpty else { return }
    var dense = self
    dense.model = model.configuration.makeModel()
    let all = ParameterStore()
    try dense.fill(all, seed: seed, precision: .fp32, context: context)
    for parameter in dense.model.parameters {
      guard let whole = weights.first(where: { $0.name == parameter.name })?.whole else { continue }
      try context.copy(try store.tensor(whole), parameter.outputsByInputs(try all.tensor(parameter)))
    }
  }

  /// Gives a store the weights that training begins with: the pretrained ones, or new ones.
  func fill(_ store: ParameterStore, seed: UInt64, precision: Precision, context: Context) throws(KilnError) {
    if let pretrained {
      try ModelFiles.load(
        model, from: pretrained, into: store, access: .copied, precision: precision, context: context)
      for factor in model.factors { try context.fill(try store.tensor(factor), 1) }
    } else {
      try model.initialize(store, seed: seed, precision: precision, context: context)
    }
  }
}
