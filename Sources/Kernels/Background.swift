import Dispatch

/// Work on another thread, for one that will wait for it.
public final class Background: @unchecked Sendable {
  private let done = DispatchSemaphore(value: 0)
  private var error: KilnError?
  private var isOver = false

  /// Begins when everything before it in the queue is over.
  public init(on queue: DispatchQueue, _ body: @escaping @Sendable () throws(KilnError) -> Void) {
    queue.async {
      do throws(KilnError) { try body() } catch { self.error = error }
      self.done.signal()
    }
  }

  /// Returns when it is over, with the error that it ended in. For one thread.
  public func wait() throws(KilnError) {
    if !isOver { done.wait() }
    isOver = true
    if let error { throw error }
  }
}
