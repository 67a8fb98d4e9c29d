// Whether to train a large model and then compress it (Li et al., arXiv 2002.11794): models of several widths with equal
// time or equal work, each pruned and rounded to several sizes.

import Foundation
import Harness
import Kiln

struct Compression {
  /// One model in one form.
  struct Point: Codable {
    /// What the widths have in common: "time" or "work".
    var equal: String
    var width: Int
    var steps: Int
    var form: String
    var bytes: Int
    var heldOut: Double

    /// Whether no other one has less loss in as few bytes.
    func isBest(among all: [Point]) -> Bool {
      !all.contains { $0.bytes <= bytes && $0.heldOut < heldOut || $0.bytes < bytes && $0.heldOut <= heldOut }
    }
  }

  let text: TrainingText
  var widths = [64, 128, 256]
  /// Of training, for each width.
  var seconds = 100.0
  var densities = [0.5, 0.25, 0.1]
  /// After pruning.
  var tuningSteps = 30
  var threads: Int?

  /// - Parameter onPoint: told of each as it is there.
  func run(onPoint: (Point) -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-compression-\(getpid())")
    defer { try? FileManager.default.removeItem(at: folder) }
    var work: Double?
    for equal in ["time", "work"] {
      for width in widths {
        let out = folder.appendingPathComponent("\(equal)-\(width)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var configuration = try self.configuration(width: width)
        configuration.maxTime = seconds
        if equal == "work", let work {
          let each = try TrainingPlanner().plan(configuration).gradient.flops
          (configuration.maxTime, configuration.steps) = (nil, max(1, Int(work / Double(each))))
        }
        let trainer = try Trainer(configuration, out: out, options: Trainer.Options(threads: threads))
        let trained = try train(trainer)
        // The smallest model's, which takes most steps in its time.
        if work == nil { work = Double(trainer.plan.gradient.flops * trained.steps) }
        let base = Point(
          equal: equal, width: width, steps: trained.steps, form: "fp32", bytes: try size(of: out),
          heldOut: trained.heldOut)
        onPoint(base)
        for point in try compressed(base, out) { onPoint(point) }
      }
    }
  }

  private func configuration(width: Int) throws -> TrainingConfiguration {
    let task = TrainingTask("LM", layers: 4, width: width, heads: 4, time: 64, batch: 32, steps: 1)
    var configuration = task.configuration
    try text.fill(&configuration, for: task)
    (configuration.steps, configuration.lr, configuration.keep) = (nil, 3e-3, 1)
    (configuration.evalEvery, configuration.saveEvery) = (1_000_000, 1_000_000)
    return configuration
  }

  private func train(_ trainer: Trainer) throws -> (steps: Int, heldOut: Double) {
    var (steps, heldOut) = (0, Double.infinity)
    try trainer.run(onEvent: { event in
      guard case .step(let metrics) = event else { return }
      steps = metrics.step + 1
      heldOut = metrics.evalLoss ?? heldOut
    })
    return (steps, heldOut)
  }

  private func size(of model: URL) throws -> Int {
    let file = model.appendingPathComponent("model.safetensors")
    return try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
  }

  private func compressed(_ base: Point, _ model: URL) throws -> [Point] {
    var points: [Point] = []
    for density in densities {
      let out = model.appendingPathExtension("\(density)")
      var configuration = try self.configuration(width: base.width)
      (configuration.layers, configuration.width, configuration.heads, configuration.arch) = (nil, nil, nil, nil)
      configuration.model = model.path
      (configuration.sparsity, configuration.density, configuration.layerDensity) = (.magnitude, density, .uniform)
      (configuration.steps, configuration.lr, configuration.warmup) = (tuningSteps, 3e-4, 0)
      let tuned = try train(Trainer(configuration, out: out, options: Trainer.Options(threads: threads)))
      var point = base
      point.form = "\(Int(density * 100)) % kept"
      (point.bytes, point.heldOut) = (try size(of: out), tuned.heldOut)
      points.append(point)
    }
    for (name, format) in [("int8", BlockFormat.q8_0), ("int4", .q4_0)] {
      var point = base
      point.form = name
      (point.bytes, point.heldOut) = try rounded(model, format)
      points.append(point)
    }
    return points
  }

  /// With matrices rounded in blocks of 32: their bytes, and the loss.
  private func rounded(_ path: URL, _ format: BlockFormat) throws -> (bytes: Int, heldOut: Double) {
    let context = try Context(threads: threads)
    let (model, files) = try ModelFiles.open(path.path)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .copied, context: context)
    var bytes = 0
    for parameter in model.parameters {
      let tensor = try store.tensor(parameter)
      guard parameter.shape.rank == 2, parameter.shape.last % 32 == 0 else {
        bytes += tensor.byteCount
        continue
      }
      let blocks = try Tensor(zeros: [parameter.shape.rows, parameter.shape.last / 32 * format.blockBytes], .uint8)
      try context.quantizeBlocks(blocks, tensor, format)
      try context.dequantizeBlocks(tensor, blocks, format)
      bytes += blocks.byteCount
    }
    let configuration = try self.configuration(width: 64)
    let held = URL(fileURLWithPath: configuration.evalData ?? "")
    let evaluator = try Evaluator(
      model, batch: 32, time: 64, precision: .fp32, hasMasters: false, context: context, store: store)
    return (bytes, try evaluator.evaluate(Corpus(files: [held], tokenizer: ByteTokenizer())).loss)
  }
}

extension Compression {
  static func markdown(_ points: [Point]) -> String {
    unique(points.map(\.equal)).map { equal in
      let mine = points.filter { $0.equal == equal }
      var table = TextTable(["width", "form", "steps", "KiB", "held-out loss", "best at its size"], textColumns: 2)
      table.rows = mine.map { point in
        [
          "\(point.width)", point.form, "\(point.steps)", "\(point.bytes >> 10)", Format.fixed(point.heldOut, 3),
          point.isBest(among: mine) ? "yes" : "",
        ]
      }
      return "**Equal \(equal)**\n\n" + table.markdown
    }.joined(separator: "\n\n")
  }

  static func plot(_ points: [Point]) -> ScatterPlot {
    let mine = points.filter { $0.equal == "time" }
    return ScatterPlot(
      "Trained for equal time, then compressed", x: "KiB", y: "held-out loss",
      unique(mine.map(\.width)).map { width in
        .init(
          "width \(width)",
          mine.filter { $0.width == width }.map { .init($0.form, x: Double($0.bytes) / 1024, y: $0.heldOut) })
      })
  }
}
