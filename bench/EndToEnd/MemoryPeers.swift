// PyTorch's steps beside those of the frontier: eager, compiled, and with every block checkpointed.

import Foundation
import Harness
import Kiln

enum MemoryPeers {
  private struct Way {
    let name: String
    let peer: Peer
    var op: String?
    let dtype: Job.DType
  }

  private static var ways: [Way] {
    [
      Way(name: "PyTorch fp32", peer: .torch, dtype: .float32),
      Way(name: "PyTorch fp32, checkpointed", peer: .torch, op: "checkpoint", dtype: .float32),
      Way(name: "PyTorch fp32, compiled", peer: .torchCompile, dtype: .float32),
      Way(name: "PyTorch bf16, compiled", peer: .torchCompile, dtype: .bfloat16),
    ]
  }

  static var names: [String] { ways.map(\.name) }

  /// One result after another; a peer that cannot be asked is told of by `onMissing`.
  static func run(
    match: String?, threads: Int, onMissing: (String) -> Void, onResult: (MemoryRun.Result) throws -> Void
  ) throws {
    for way in ways where match.map({ way.name.contains($0) }) ?? true {
      let job = Job(.step, op: way.op, dtype: way.dtype) {
        ModelShape().fill(&$0)
        ($0.batch, $0.time) = (4, 1024)
      }
      let pool = try PeerPool(enabled: true, names: way.peer.rawValue, threads: threads)
      defer { pool.stop() }
      guard let contender = pool.contenders(for: job).first else { continue }
      let load = ForeignLoad()
      do {
        _ = try contender.prepare()
        _ = try contender.run(1)
        let timings = try (0..<2).map { _ in try contender.run(1) }
        guard let fastest = timings.map(\.seconds).min() else { continue }
        try onResult(
          MemoryRun.Result(
            name: way.name, predicted: nil, measured: timings.compactMap(\.peakResident).max() ?? 0,
            predictedSeconds: nil, measuredSeconds: fastest, tokensPerStep: 4096, techniques: [],
            foreignLoad: load.mean()))
      } catch let error as Unavailable {
        onMissing("\(way.name): \(error)")
      }
    }
  }
}
