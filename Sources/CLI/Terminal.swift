// Writing to standard output and standard error, unbuffered, whether or not somebody reads.

import Foundation
import Kiln

enum Terminal {
  /// Whether a person sees standard output, so that a line may be rewritten in place.
  static var isInteractive: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Columns of the terminal behind standard output.
  static var width: Int {
    var size = winsize()
    return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
  }

  static func print(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

  /// A remark beside the output, on standard error.
  static func note(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

  static func error(_ error: KilnError) {
    write("error: \(error.message)\n" + (error.hint.map { "hint: \($0)\n" } ?? ""), to: STDERR_FILENO)
  }

  /// Writes text as it is.
  static func write(_ text: String) { write(text, to: STDOUT_FILENO) }

  /// Names and values in two columns.
  static func print(table rows: [(name: String, value: String)]) {
    let width = rows.map(\.name.count).max() ?? 0
    for (name, value) in rows { print(name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + value) }
  }

  /// A value as JSON on one line; keys in alphabetical order.
  static func print(json value: some Encodable) throws(KilnError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      print(String(decoding: try encoder.encode(value), as: UTF8.self))
    } catch {
      throw KilnError(.format, "the result cannot be written as JSON: \(error.localizedDescription)")
    }
  }

  /// What cannot be written because the reader is gone is dropped.
  private static func write(_ text: String, to descriptor: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { return }
      rest = rest.dropFirst(written)
    }
  }
}
