// Whole training steps: forward, backward and AdamW of GPT-2.

import Harness
import Kiln

enum StepFamily: Family {
  static let name = "step"

  static func cases(_ setup: Setup) -> [Case] {
    let small = ModelShape(layers: 4, width: 256, heads: 4, vocabulary: 256)
    return Job.DType.floats.flatMap { dtype in
      [
        item("4 layers x 256 wide", small, batch: 16, time: 256, dtype, setup),
        item("GPT-2 124M", ModelShape(), batch: 1, time: 1024, dtype, setup),
        item("GPT-2 124M", ModelShape(), batch: 4, time: 1024, dtype, setup),
      ]
    }
  }

  static func item(
    _ model: String, _ shape: ModelShape, batch: Int, time: Int, _ dtype: Job.DType, _ setup: Setup
  ) -> Case {
    let work = Job(.step, dtype: dtype) {
      shape.fill(&$0)
      ($0.batch, $0.time) = (batch, time)
    }
    let tokens = Double(batch * time)
    var item = Case(
      name, "\(model), \(batch) x \(time) tokens, \(dtype.label)",
      Cost(flops: tokens * shape.flopsOfToken(time: time)), unit: dtype.unit, work: work,
      contenders: [ownContender(work, on: setup.context)])
    item.figures = { result in
      result.contenders.flatMap { entry in
        var figures = entry.seconds.map { [Figure("\(entry.name)", tokens / $0.median, "tokens/s")] } ?? []
        if let peak = entry.peakResident { figures.append(Figure("peak", Double(peak >> 20), "MiB")) }
        return figures
      }
    }
    return item
  }
}
