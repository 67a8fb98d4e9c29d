// Activations, forward and backward.

import Harness
import Kiln

enum ActivationFamily: Family {
  static let name = "activation"

  static func cases(_ setup: Setup) -> [Case] {
    Job.DType.floats.flatMap { dtype in
      [("gelu_tanh", Activation.geluTanh), ("silu", .silu)].flatMap { op, kind in
        [(4096, Caches.cold), (4096, .warm), (64, .warm)].map { rows, caches in
          rowsCase(setup, .activation, op, rows: rows, channels: 3072, dtype, caches) { shape, copies in
            try kernel(setup, kind, shape, dtype, copies: copies)
          }
        }
      }
    }
  }

  private static func kernel(
    _ setup: Setup, _ kind: Activation, _ shape: Shape, _ dtype: Job.DType, copies: Int
  ) throws -> Kernel {
    let sets = try (0..<copies).map { _ in
      (
        x: try setup.normal(shape, dtype, site: 1), dy: try setup.normal(shape, dtype, site: 2),
        y: try setup.zeros(shape, dtype.storage), dx: try setup.zeros(shape, dtype.storage)
      )
    }
    return Kernel(
      copies: copies,
      run: {
        for o in sets { try setup.context.activation(o.y, o.x, kind) }
        for o in sets { try setup.context.activationBackward(o.dx, o.dy, o.x, kind) }
      },
      check: {
        let part = 0..<64
        let (x, dy) = (try setup.exact(sets[0].x.slice(0, part)), try setup.exact(sets[0].dy.slice(0, part)))
        let result = try Tensor(zeros: x.shape)
        try setup.reference.activation(result, x, kind)
        try setup.expect(sets[0].y.slice(0, part), result, "y", within: dtype.tolerance)
        try setup.reference.activationBackward(result, dy, x, kind)
        try setup.expect(sets[0].dx.slice(0, part), result, "dx", within: dtype.tolerance)
      })
  }
}
