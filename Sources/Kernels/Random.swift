import CKernels

/// Names a set of random numbers: they are a function of it and of the element's index.
public struct RandomKey: Sendable, Hashable {
  public var seed: UInt64
  public var step: UInt64
  public var site: UInt32

  public init(seed: UInt64, step: UInt64 = 0, site: UInt32 = 0) {
    self.seed = seed
    self.step = step
    self.site = site
  }

  var options: kiln_random_options {
    var o = kiln_random_defaults()
    o.seed = seed
    o.step = step
    o.site = site
    return o
  }
}

extension Context {
  /// Uniform in low ..< high; see `kiln_random_uniform`.
  public func randomUniform(_ y: Tensor, _ range: Range<Double>, key: RandomKey) throws(KilnError) {
    try call(y) { p in
      var o = key.options
      return kiln_random_uniform(handle, p[0], range.lowerBound, range.upperBound, &o)
    }
  }

  /// Normal; see `kiln_random_normal`.
  public func randomNormal(_ y: Tensor, mean: Double = 0, std: Double, key: RandomKey) throws(KilnError) {
    try call(y) { p in
      var o = key.options
      return kiln_random_normal(handle, p[0], mean, std, &o)
    }
  }
}
