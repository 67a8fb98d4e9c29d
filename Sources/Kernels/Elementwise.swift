import CKernels

extension Context {
  /// y = a + b; see `kiln_add`.
  public func add(_ y: Tensor, _ a: Tensor, _ b: Tensor) throws(KilnError) {
    try call(y, a, b) { kiln_add(handle, $0[0], $0[1], $0[2]) }
  }

  /// Every element = value; see `kiln_fill`.
  public func fill(_ y: Tensor, _ value: Double) throws(KilnError) {
    try call(y) { kiln_fill(handle, $0[0], value) }
  }

  /// y = x, converted between floating-point types; see `kiln_copy`.
  public func copy(_ y: Tensor, _ x: Tensor) throws(KilnError) {
    try call(y, x) { kiln_copy(handle, $0[0], $0[1]) }
  }

  /// out (float64 scalar) = or += sum of x^2; see `kiln_sum_squares`.
  public func sumSquares(_ out: Tensor, _ x: Tensor, accumulate: Bool = false) throws(KilnError) {
    try call(out, x) { kiln_sum_squares(handle, $0[0], $0[1], accumulate) }
  }
}
