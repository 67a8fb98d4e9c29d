// Causal attention at GPT-2's width, forward alone and with its backward.

import Harness
import Kiln

enum AttentionFamily: Family {
  static let name = "attention"
  private static let heads = 12
  private static let width = 64

  static func cases(_ setup: Setup) -> [Case] {
    Job.DType.floats.flatMap { dtype in
      [(4, 1024), (1, 4096)].flatMap { batch, time in
        [false, true].map { item(setup, batch: batch, time: time, backward: $0, dtype) }
      }
    }
  }

  /// The causal half: forward 2 b h t^2 d, backward 2.5 times that.
  private static func item(_ setup: Setup, batch: Int, time: Int, backward: Bool, _ dtype: Job.DType) -> Case {
    let forward = 2 * Double(batch * heads * time * time * width)
    return Case(
      name, "causal \(backward ? "fwd+bwd" : "fwd") \(batch)x\(time) \(dtype.label)",
      Cost(flops: backward ? 3.5 * forward : forward), unit: dtype.unit,
      work: Job(.attention, op: backward ? "fwd_bwd" : "fwd", dtype: dtype) {
        ($0.batch, $0.heads, $0.time, $0.width) = (batch, heads, time, width)
      },
      contenders: [
        KernelContender(on: setup.context) {
          let operands = try Operands(setup, batch: batch, time: time, dtype)
          let run = { (context: Context) throws(KilnError) in
            try operands.forward(context)
            if backward { try operands.backward(context) }
          }
          return Kernel(
            extraBytes: try setup.context.measuringWorkspace { () throws(KilnError) in try run(setup.context) },
            run: { try run(setup.context) }, check: { try operands.check(setup, backward: backward, dtype.tolerance) })
        }
      ])
  }

  /// Queries, keys and values packed as the projection leaves them: [b, t, 3 h d].
  private struct Operands {
    let qkv, dqkv, o, dOut, lse: Tensor

    init(_ setup: Setup, batch: Int, time: Int, _ dtype: Job.DType) throws {
      let channels = heads * width
      self.init(
        qkv: try setup.normal([batch, time, 3 * channels], dtype, site: 1),
        dOut: try setup.normal([batch, time, channels], dtype, site: 2),
        dqkv: try setup.zeros([batch, time, 3 * channels], dtype.storage),
        o: try setup.zeros([batch, time, channels], dtype.storage), lse: try setup.zeros([batch, heads, time]))
    }

    init(qkv: Tensor, dOut: Tensor, dqkv: Tensor, o: Tensor, lse: Tensor) {
      (self.qkv, self.dOut, self.dqkv, self.o, self.lse) = (qkv, dOut, dqkv, o, lse)
    }

    /// Queries (0), keys (1) or values (2) of a packed tensor, by head.
    private func part(_ packed: Tensor, _ index: Int) -> Tensor {
      let channels = packed.shape.last / 3
      return packed.slice(2, index * channels..<(index + 1) * channels).split(last: heads)
    }

    func forward(_ context: Context) throws(KilnError) {
      try context.attention(
        o.split(last: heads), lse: lse, q: part(qkv, 0), k: part(qkv, 1), v: part(qkv, 2), causal: true)
    }

    func backward(_ context: Context) throws(KilnError) {
      try context.attentionBackward(
        dq: part(dqkv, 0), dk: part(dqkv, 1), dv: part(dqkv, 2), do: dOut.split(last: heads), q: part(qkv, 0),
        k: part(qkv, 1), v: part(qkv, 2), o: o.split(last: heads), lse: lse, causal: true)
    }

    /// The last positions of one head against the reference. Only the last queries see the last keys, so these have all
    /// of their gradient from them.
    func check(_ setup: Setup, backward: Bool, _ tolerance: Double) throws {
      let (time, head) = (qkv.shape[1], heads - 1)
      let last = time - 32..<time
      func one(_ x: Tensor, _ positions: Range<Int>) throws -> Tensor {
        try setup.exact(x.slice(0, 0..<1).slice(1, positions).slice(2, head..<head + 1))
      }
      let (q, k, v) = (
        try one(part(qkv, 0), last), try one(part(qkv, 1), 0..<time), try one(part(qkv, 2), 0..<time)
      )
      let (exactO, exactLSE) = (try Tensor(zeros: q.shape), try Tensor(zeros: [1, 1, last.count]))
      try setup.reference.attention(exactO, lse: exactLSE, q: q, k: k, v: v, causal: true)
      try setup.expect(one(o.split(last: heads), last), exactO, "o", within: tolerance)
      guard backward else { return }
      let (dq, dk, dv) = (try Tensor(zeros: q.shape), try Tensor(zeros: k.shape), try Tensor(zeros: v.shape))
      try setup.reference.attentionBackward(
        dq: dq, dk: dk, dv: dv, do: one(dOut.split(last: heads), last), q: q, k: k, v: v, o: exactO, lse: exactLSE,
        causal: true)
      for (index, (what, exact)) in [("dq", dq), ("dk", dk.slice(1, last)), ("dv", dv.slice(1, last))].enumerated() {
        try setup.expect(one(part(dqkv, index), last), exact, what, within: tolerance)
      }
    }
  }
}
