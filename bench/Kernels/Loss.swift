// The output projection with its cross-entropy and both gradients, beside its three products alone.

import Harness
import Kiln

enum LossFamily: Family {
  static let name = "loss"
  private static let (rows, channels, vocabulary) = (4096, 768, 50257)

  static func cases(_ setup: Setup) -> [Case] {
    Job.DType.floats.map { dtype in
      var item = Case(
        name, "projection + cross-entropy \(rows)x\(vocabulary) \(dtype.label)",
        Cost(flops: 6 * Double(rows * channels * vocabulary)), unit: dtype.unit,
        work: Job(.loss, dtype: dtype) {
          ($0.rows, $0.channels, $0.vocabulary) = (rows, channels, vocabulary)
        },
        contenders: [
          KernelContender(on: setup.context) { try Operands(setup, dtype).kernel(setup, dtype.tolerance) },
          KernelContender("its products", on: setup.context) { try products(setup, dtype) },
        ])
      item.figures = { result in
        guard let all = result["kiln"], let products = result["its products"]?.seconds, let seconds = all.seconds else {
          return []
        }
        return [
          Figure("beyond its products", (seconds.median - products.median) * 1e3, "ms"),
          Figure("scratch", Double(all.extraBytes ?? 0) / 0x1p20, "MiB"),
        ]
      }
      return item
    }
  }

  /// The same three products, of stored logits.
  private static func products(_ setup: Setup, _ dtype: Job.DType) throws -> Kernel {
    let all = try Product.Operand.allCases.map {
      try Product($0, m: rows, n: vocabulary, k: channels, dtype, setup)
    }
    return Kernel(
      run: { for product in all { try product.run(setup) } },
      check: { for product in all { try product.check(setup) } })
  }

  private struct Operands {
    let x, w, dx, dw, targets, loss: Tensor

    init(_ setup: Setup, _ dtype: Job.DType) throws {
      x = try setup.normal([rows, channels], dtype, site: 1)
      w = try setup.normal([vocabulary, channels], dtype, std: 0.02, site: 2)
      dx = try setup.zeros(x.shape, dtype.storage)
      dw = try setup.zeros(w.shape)
      targets = try setup.tokens([rows], below: vocabulary)
      loss = try setup.zeros([])
    }

    func run(on context: Context) throws(KilnError) {
      try context.linearCrossEntropy(
        loss, dx: dx, dw: dw, x, w, targets: targets, scale: 1 / Float(rows))
    }

    func kernel(_ setup: Setup, _ tolerance: Double) throws -> Kernel {
      Kernel(
        extraBytes: try setup.context.measuringWorkspace { () throws(KilnError) in try run(on: setup.context) },
        run: { try run(on: setup.context) }, check: { try check(setup, tolerance) })
    }

    /// Rows of dx against the reference, which has each row on its own; dw by the identity that both gradients share,
    /// sum(dw * w) = sum(dlogits * logits) = sum(dx * x); the loss by that of all rows being near that of a few.
    private func check(_ setup: Setup, _ tolerance: Double) throws {
      let some = rows - 4..<rows
      let exact = try Tensor(zeros: [some.count, channels])
      let few = try Tensor(zeros: [])
      let part = try Tensor(Array(targets.integers()[some]), [some.count])
      try setup.reference.linearCrossEntropy(
        few, dx: exact, dw: nil, setup.exact(x.slice(0, some)), setup.exact(w), targets: part, scale: 1 / Float(rows))
      try setup.expect(dx.slice(0, some), exact, "dx", within: tolerance)
      let (byWeight, byInput) = (try dot(setup, dw, w), try dot(setup, dx, x))
      guard abs(byWeight - byInput) <= 10 * tolerance * abs(byInput), byInput != 0 else {
        throw BenchFailure("dw is wrong: sum(dw * w) is \(byWeight), sum(dx * x) is \(byInput)")
      }
      let mean = few.scalar * Double(rows) / Double(some.count)
      guard abs(loss.scalar - mean) < 2 else {
        throw BenchFailure("the loss is \(loss.scalar), that of a few rows \(mean)")
      }
    }

    private func dot(_ setup: Setup, _ a: Tensor, _ b: Tensor) throws -> Double {
      zip(try setup.exact(a).floats(), try setup.exact(b).floats()).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
  }
}
