// Ctrl-C and `kill` as a wish to stop, so that a run can save before it ends.

import Dispatch
import Foundation
import Synchronization

/// Watches SIGINT and SIGTERM while it lives. The first sets a flag; a second one ends the process at once.
final class Interruption {
  private final class Flag: Sendable {
    let isSet = Atomic(false)
  }

  private let flag = Flag()
  private var sources: [any DispatchSourceSignal] = []

  /// - Parameter onRequest: called once, on a queue of its own.
  init(onRequest: @escaping @Sendable () -> Void) {
    for number in [SIGINT, SIGTERM] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [flag] in
        guard !flag.isSet.exchange(true, ordering: .relaxed) else { _exit(128 + number) }
        onRequest()
      }
      source.resume()
      sources.append(source)
    }
  }

  var wasRequested: Bool { flag.isSet.load(ordering: .relaxed) }
}
