// Encoding a text file part by part on a few threads.

import Foundation
import KilnKernels
import Synchronization

/// Encodes a file of text; the tokens are those of the whole text, whatever the number of threads.
struct TextEncoder {
  let tokenizer: any Tokenizer
  /// More threads than these gain little over reading and writing.
  private static let threads = min(ProcessInfo.processInfo.activeProcessorCount, 8)

  /// Calls `append` with the tokens in order, until it returns false.
  /// - Throws: `data` where the file is no UTF-8 text, `file` where it can't be read.
  func encode(_ file: InputFile, append: ([Int32]) -> Bool) throws(KilnError) {
    var reader = try TextReader(file.url)
    var byteCount = 0
    while true {
      var parts: [[UInt8]] = []
      while parts.count < Self.threads, let part = try reader.next(cutBy: tokenizer) { parts.append(part) }
      if parts.isEmpty { break }
      byteCount += parts.reduce(0) { $0 + $1.count }
      for tokens in encode(parts) where !append(tokens) { return }
    }
    guard byteCount == file.size else { throw KilnError(.file, "\(file.url.path) changed while it was read") }
  }

  private func encode(_ parts: [[UInt8]]) -> [[Int32]] {
    let results = Mutex([[Int32]](repeating: [], count: parts.count))
    DispatchQueue.concurrentPerform(iterations: parts.count) { index in
      let tokens = tokenizer.encode(parts[index])
      results.withLock { $0[index] = tokens }
    }
    return results.withLock { $0 }
  }
}
