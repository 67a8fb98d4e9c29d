// Generation, GPT-2 124M, one token at a time: every weight is read once a token.

import Harness
import Kiln

enum GenerationFamily: Family {
  static let name = "generation"

  static func cases(_ setup: Setup) -> [Case] {
    let shape = ModelShape()
    let tokens = 32
    return Job.DType.floats.map { dtype in
      let work = Job(.generation, dtype: dtype) {
        shape.fill(&$0)
        $0.tokens = tokens
      }
      let bytes = Double((shape.blocks + shape.embedding) * dtype.size * tokens)
      var item = Case(
        name, "GPT-2 124M, \(tokens) tokens, \(dtype.label)", Cost(bytes: bytes), work: work,
        contenders: [ownContender(work, on: setup.context)])
      item.figures = { result in
        result.contenders.compactMap { entry in
          entry.seconds.map { Figure(entry.name, Double(tokens) / $0.median, "tokens/s") }
        }
      }
      return item
    }
  }
}
