import Foundation
import KilnGraph
import KilnKernels
import Testing

@testable import KilnOptimizers

/// Proximal gradients on the lasso, min 1/2 ||A x - b||^2 + l1 sum |x|, whose solution is known or can be recognised.
struct ProximalGradientTests {
  struct Lasso {
    let rows: [[Double]]
    let b: [Double]
    let l1: Double

    func residual(_ x: [Double]) -> [Double] {
      zip(rows, b).map { row, b in zip(row, x).reduce(-b) { $0 + $1.0 * $1.1 } }
    }

    func gradient(_ x: [Double]) -> [Double] {
      var gradient = [Double](repeating: 0, count: x.count)
      for (row, r) in zip(rows, residual(x)) { for j in gradient.indices { gradient[j] += row[j] * r } }
      return gradient
    }

    func objective(_ x: [Double]) -> Double {
      residual(x).reduce(0) { $0 + $1 * $1 / 2 } + l1 * x.reduce(0) { $0 + abs($1) }
    }

    /// How far x is from meeting the conditions of a minimum: |gradient| <= l1 where x = 0, -l1 sign(x) elsewhere.
    func violation(_ x: [Double]) -> Double {
      zip(gradient(x), x).map { g, x in x == 0 ? max(0, abs(g) - l1) : abs(g + (x > 0 ? l1 : -l1)) }.max() ?? 0
    }

    /// The largest eigenvalue of A^T A, by the power method.
    var lipschitz: Double {
      var v = [Double](repeating: 1, count: rows[0].count)
      var norm = 0.0
      for _ in 0..<200 {
        let av = rows.map { row in zip(row, v).reduce(0) { $0 + $1.0 * $1.1 } }
        v = v.indices.map { j in zip(rows, av).reduce(0) { $0 + $1.0[j] * $1.1 } }
        norm = v.reduce(0) { $0 + $1 * $1 }.squareRoot()
        v = v.map { $0 / norm }
      }
      return norm
    }

    /// 60 rows of 120 unknowns, of which 8 are not 0.
    static func random() -> Lasso {
      var state: UInt64 = 7
      func normal() -> Double {
        (0..<12).reduce(-6.0) { sum, _ in
          state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          return sum + Double(state >> 11) * 0x1p-53
        }
      }
      let rows = (0..<60).map { _ in (0..<120).map { _ in normal() / 60.0.squareRoot() } }
      let truth = (0..<120).map { $0 % 15 == 0 ? normal() : 0 }
      let b = rows.map { row in zip(row, truth).reduce(0.01 * normal()) { $0 + $1.0 * $1.1 } }
      return Lasso(rows: rows, b: b, l1: 0.05)
    }
  }

  /// The objective of every iterate.
  private func minimize(_ lasso: Lasso, _ form: ProximalGradient.Form, steps: Int) throws -> (x: [Double], [Double]) {
    var penalty = Context.Penalty()
    penalty.l1 = lasso.l1
    let optimizer = try ProximalGradient(form, penalty: penalty)
    let context = try Context(threads: 1)
    let parameter = Parameter("x", [1, lasso.rows[0].count])
    let weight = try Tensor(zeros: parameter.shape)
    let gradient = try Tensor(zeros: parameter.shape)
    let states = try optimizer.states(of: parameter).map { try Tensor(zeros: $0.shape, $0.type.dtype) }
    let iterate = optimizer.evaluated(parameter) == nil ? weight : states[0]
    var options = Context.UpdateOptions()
    options.lr = 1 / lasso.lipschitz
    var objectives: [Double] = []
    func values(_ tensor: Tensor) -> [Double] { tensor.floats().map(Double.init) }
    for step in 1...steps {
      options.step = step
      gradient.copy(from: lasso.gradient(values(weight)).map(Float.init))
      try optimizer.update(
        WeightUpdate(
          context: context, parameter: parameter, weight: weight, gradient: gradient, states: states, options: options))
      objectives.append(lasso.objective(values(iterate)))
      if form == .accelerated(isMonotone: true), objectives[step - 1] <= lasso.objective(values(weight)) {
        try context.copy(weight, iterate)
      }
    }
    return (values(iterate), objectives)
  }

  private static let forms: [ProximalGradient.Form] = [
    .sgd(momentum: 0), .accelerated(isMonotone: false), .accelerated(isMonotone: true),
  ]

  /// With orthonormal columns the solution is the soft threshold of A^T b.
  @Test(arguments: forms) func closedForm(_ form: ProximalGradient.Form) throws {
    let b = [0.9, -0.3, 0.05, -0.02, 0, 2]
    let identity = b.indices.map { i in b.indices.map { $0 == i ? 1.0 : 0 } }
    let (x, _) = try minimize(Lasso(rows: identity, b: b, l1: 0.1), form, steps: 80)
    for (found, b) in zip(x, b) {
      let expected = (b < 0 ? -1 : 1) * max(abs(b) - 0.1, 0)
      #expect(abs(found - expected) < 1e-5)
      #expect((found == 0) == (expected == 0))
    }
  }

  @Test(arguments: forms) func meetsTheConditionsOfAMinimum(_ form: ProximalGradient.Form) throws {
    let lasso = Lasso.random()
    let (x, objectives) = try minimize(lasso, form, steps: 2000)
    #expect(lasso.violation(x) < 1e-4)
    #expect(x.count { $0 != 0 } < 30)
    guard form != .accelerated(isMonotone: false) else { return }
    for (before, after) in zip(objectives, objectives.dropFirst()) { #expect(after <= before * (1 + 1e-6)) }
  }

  /// Acceleration needs a fraction of the steps.
  @Test func stepsToAGapOfAMillionth() throws {
    let lasso = Lasso.random()
    let runs = try Self.forms.map { try minimize(lasso, $0, steps: 2000).1 }
    let best = runs.flatMap { $0 }.min() ?? 0
    let steps = runs.map { run in run.firstIndex { $0 - best < 1e-6 * best } ?? .max }
    print("lasso, steps to a gap of 1e-6: plain \(steps[0]), accelerated \(steps[1]), monotone \(steps[2])")
    #expect(steps[1] < steps[0] && steps[2] < steps[0])
  }
}
