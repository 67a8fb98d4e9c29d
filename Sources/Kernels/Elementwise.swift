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

  /// y = x, converted between floating-point types; see `kiln_copy`. Each may be in the host's memory or in a device's.
  public func copy(_ y: Tensor, _ x: Tensor) throws(KilnError) {
    guard let from = x.storage, let to = y.storage, from.device == nil || to.device == nil else {
      return try call(y, x) { kiln_copy(handle, $0[0], $0[1]) }
    }
    guard let device = from.device ?? to.device else {
      return hasOwnMemory ? try Context().copy(y, x) : try call(y, x) { kiln_copy(handle, $0[0], $0[1]) }
    }
    if x.isDense, y.isDense, x.shape == y.shape, x.dtype == y.dtype {
      y.fill(from: x)
    } else if to.device != nil {
      // As it will be, on the host, then in one piece to the device, then to its places.
      let values = try Tensor(zeros: y.shape, y.dtype)
      try Context().copy(values, x)
      let whole = y.isDense ? y : try Tensor(zeros: y.shape, y.dtype, on: device)
      whole.fill(from: values)
      if !y.isDense { try device.copy(y, whole) }
    } else {
      let whole = x.isDense ? x : try Tensor(zeros: x.shape, x.dtype, on: device)
      if !x.isDense { try device.copy(whole, x) }
      let values = try Tensor(zeros: x.shape, x.dtype)
      values.fill(from: whole)
      try Context().copy(y, values)
    }
    try device.checkTransfers()
  }

  /// out (float64 scalar) = or += sum of x^2; see `kiln_sum_squares`.
  public func sumSquares(_ out: Tensor, _ x: Tensor, accumulate: Bool = false) throws(KilnError) {
    try call(out, x) { kiln_sum_squares(handle, $0[0], $0[1], accumulate) }
  }
}
