// Checks of results before anything is timed.

import Harness
import Kiln

extension Setup {
  /// The reference's version of a tensor: dense fp32.
  func exact(_ x: Tensor) throws -> Tensor {
    let copy = try Tensor(zeros: x.shape)
    try context.copy(copy, x)
    return copy
  }

  /// Integers for the reference.
  func onHost(_ x: Tensor) throws -> Tensor { try Tensor(x.integers(), x.shape) }

  /// Refuses a result that is further from the expected one than `tolerance` of the largest value, and one of zeros.
  func expect(_ result: Tensor, _ expected: Tensor, _ what: String, within tolerance: Double) throws {
    let (found, wanted) = (try exact(result).floats(), try exact(expected).floats())
    let largest = wanted.reduce(0) { max($0, abs($1)) }
    guard largest > 0 else { throw BenchFailure("\(what): the expected result is all zeros, which checks nothing") }
    let error = zip(found, wanted).reduce(Float(0)) { $1.0.isFinite ? max($0, abs($1.0 - $1.1)) : .infinity }
    guard Double(error / largest) <= tolerance else {
      throw BenchFailure("\(what) is wrong by \(error / largest) of the largest value, beyond \(tolerance)")
    }
  }
}
