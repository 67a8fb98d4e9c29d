// The libraries that a user would pick instead, each in a process of its own.

import Foundation

/// A peer that `worker.py` knows, and what it is asked to do.
public enum Peer: String, CaseIterable {
  case torch, numpy, openblas, deepspeed
  case torchCompile = "torch_compile"

  var kinds: Set<Job.Kind> {
    switch self {
    case .torch: Set(Job.Kind.allCases)
    case .torchCompile: [.step, .loss, .norm, .activation]
    case .numpy, .openblas: [.gemm]
    case .deepspeed: [.adamw]
    }
  }
}

/// Starts peers when a case asks for them, and keeps them for the next one.
public final class PeerPool {
  private let peers: [Peer]
  private let threads: Int
  private var running: [Peer: LineProcess] = [:]

  /// - Parameter names: of the peers, separated by commas; nil for all.
  public init(enabled: Bool, names: String?, threads: Int) throws {
    self.threads = threads
    let wanted = names?.split(separator: ",").map(String.init)
    if let unknown = wanted?.first(where: { Peer(rawValue: $0) == nil }) {
      let known = Peer.allCases.map(\.rawValue).joined(separator: ", ")
      throw BenchFailure("there is no peer '\(unknown)'; known: \(known)")
    }
    peers = enabled || wanted != nil ? wanted?.compactMap(Peer.init(rawValue:)) ?? Peer.allCases : []
  }

  public func contenders(for item: Case) -> [any Contender] {
    item.work.map(contenders) ?? []
  }

  public func contenders(for work: Job) -> [any Contender] {
    peers.filter { $0.kinds.contains(work.kind) }.map { peer in
      ProcessContender(peer.rawValue, work, isOwn: false) { try self.process(peer, for: work) }
    }
  }

  public func stop() { running = [:] }

  /// Whole models get a fresh process, so that their peak of memory is their own.
  private func process(_ peer: Peer, for work: Job) throws -> LineProcess {
    if let known = running[peer], known.isRunning, work.kind != .step, work.kind != .generation { return known }
    let python = ".peers/bin/python"
    guard FileManager.default.isExecutableFile(atPath: python) else {
      throw Unavailable("there is no bench/.peers; run make bench-peers")
    }
    let command = [python, "Peers/worker.py", "--peer", peer.rawValue, "--threads", String(threads)]
    running[peer] = nil
    let process = try LineProcess(peer.rawValue, command)
    running[peer] = process
    return process
  }
}
