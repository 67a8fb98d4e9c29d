import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers

/// What a run works on: tokenizer, model with its files, and tokens.
struct Inputs {
  let tokenizer: any Tokenizer
  let model: any LanguageModel
  /// Where the weights come from; nil for a new model.
  let pretrained: PretrainedDirectory?
  let corpus: Corpus
  let evalCorpus: Corpus?
  let context: Int

  init(_ configuration: TrainingConfiguration, resuming point: ResumePoint?) throws(KilnError) {
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
  }

  /// Gives a store the weights that training begins with: the pretrained ones, or new ones.
  func fill(_ store: ParameterStore, seed: UInt64, precision: Precision, context: Context) throws(KilnError) {
    if let pretrained {
      try ModelFiles.load(
        model, from: pretrained, into: store, access: .copied, precision: precision, context: context)
    } else {
      try model.initialize(store, seed: seed, precision: precision, context: context)
    }
  }
}
