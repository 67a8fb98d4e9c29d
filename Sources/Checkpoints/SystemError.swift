// Failures of system calls as `KilnError`: what was tried, on which path, and the system's reason.

import Foundation
import KilnKernels

extension KilnError {
  /// The error for a system call that just failed with `errno` on `url`.
  static func system(_ action: String, _ url: URL, code: Int32 = errno) -> KilnError {
    let hint: String? =
      switch code {
      case ENOSPC, EDQUOT: "free some space there, or choose another folder"
      case EACCES, EPERM, EROFS: "check the permissions, or choose another folder"
      default: nil
      }
    return KilnError(.file, "cannot \(action) '\(url.path)': \(String(cString: strerror(code)))", hint: hint)
  }

  /// The same error with what it is about put in front.
  public func about(_ subject: String) -> KilnError { KilnError(kind, "\(subject): \(message)", hint: hint) }
}
