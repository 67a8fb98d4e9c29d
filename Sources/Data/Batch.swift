// What one step of training or evaluation works on.

import KilnKernels

/// `rows` sequences of the same length, row-major: at each place an input token and the token that comes next.
public struct Batch: Sendable, Equatable {
  /// `[rows * context]`
  public var inputs: [Int32] = []
  /// `[rows * context]`
  public var targets: [Int32] = []
  /// Targets that are not ignored.
  public var targetCount = 0

  init(rows: Int, context: Int) {
    inputs.reserveCapacity(rows * context)
    targets.reserveCapacity(rows * context)
  }

  /// Adds a row that starts with `tokens` and their next tokens (one less than `tokens`); the rest is padding: input 0,
  /// target ignored.
  mutating func append(_ tokens: [Int32], context: Int) {
    let used = max(tokens.count - 1, 0)
    inputs += tokens.dropLast()
    targets += tokens.dropFirst()
    inputs += repeatElement(0, count: context - used)
    targets += repeatElement(ignoredTarget, count: context - used)
    targetCount += used
  }

  /// - Throws: `argument` if a size is not positive or their product is out of all reason.
  static func check(context: Int, rows: Int) throws(KilnError) {
    guard context > 0 else { throw KilnError(.argument, "context \(context) is not positive") }
    guard rows > 0 else { throw KilnError(.argument, "batch size \(rows) is not positive") }
    let (tokens, overflow) = context.multipliedReportingOverflow(by: rows)
    guard !overflow, tokens <= 1 << 31 else {
      throw KilnError(.argument, "a batch of \(rows) sequences of \(context) tokens is too large")
    }
  }
}
