// Normalisation, forward and backward: the shortest complete family, to read before adding another.

import Harness
import Kiln

enum NormFamily: Family {
  static let name = "norm"

  static func cases(_ setup: Setup) -> [Case] {
    Job.DType.floats.flatMap { dtype in
      ["layer_norm", "rms_norm"].flatMap { op in
        [(4096, Caches.cold), (4096, .warm), (128, .warm)].map { rows, caches in
          rowsCase(setup, .norm, op, rows: rows, channels: 768, dtype, caches) { shape, copies in
            try kernel(setup, op, shape, dtype, copies: copies)
          }
        }
      }
    }
  }

  private static func kernel(_ setup: Setup, _ op: String, _ shape: Shape, _ dtype: Job.DType, copies: Int) throws
    -> Kernel
  {
    let sets = try (0..<copies).map { _ in try Operands(setup, shape, dtype) }
    func forward(_ context: Context, _ o: Operands) throws {
      op == "layer_norm"
        ? try context.layerNorm(o.y, o.x, gain: o.gain, bias: o.bias, eps: 1e-5)
        : try context.rmsNorm(o.y, o.x, gain: o.gain, eps: 1e-5)
    }
    func backward(_ context: Context, _ o: Operands) throws {
      op == "layer_norm"
        ? try context.layerNormBackward(dx: o.dx, dgain: o.dgain, dbias: o.dbias, o.dy, o.x, gain: o.gain, eps: 1e-5)
        : try context.rmsNormBackward(dx: o.dx, dgain: o.dgain, o.dy, o.x, gain: o.gain, eps: 1e-5)
    }
    return Kernel(
      copies: copies,
      run: {
        for operands in sets { try forward(setup.context, operands) }
        for operands in sets { try backward(setup.context, operands) }
      },
      check: {
        let exact = try Operands(setup, like: sets[0])
        try forward(setup.reference, exact)
        try backward(setup.reference, exact)
        for (what, path) in [("y", \Operands.y), ("dx", \.dx), ("dgain", \.dgain)] {
          try setup.expect(sets[0][keyPath: path], exact[keyPath: path], what, within: dtype.tolerance)
        }
      })
  }

  private struct Operands {
    let x, y, dx, dy, gain, bias, dgain, dbias: Tensor

    init(_ setup: Setup, _ shape: Shape, _ dtype: Job.DType) throws {
      x = try setup.normal(shape, dtype, site: 3)
      dy = try setup.normal(shape, dtype, site: 4)
      (gain, bias) = (try setup.normal([shape.last], site: 1), try setup.normal([shape.last], site: 2))
      (y, dx) = (try setup.zeros(shape, dtype.storage), try setup.zeros(shape, dtype.storage))
      (dgain, dbias) = (try setup.zeros([shape.last]), try setup.zeros([shape.last]))
    }

    /// The same inputs in fp32, for the reference.
    init(_ setup: Setup, like other: Operands) throws {
      (x, dy) = (try setup.exact(other.x), try setup.exact(other.dy))
      (gain, bias) = (try setup.exact(other.gain), try setup.exact(other.bias))
      (y, dx) = (try Tensor(zeros: x.shape), try Tensor(zeros: x.shape))
      (dgain, dbias) = (try Tensor(zeros: [x.shape.last]), try Tensor(zeros: [x.shape.last]))
    }
  }
}
