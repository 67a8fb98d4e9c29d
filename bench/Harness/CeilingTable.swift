/// One ceiling of the machine, as the bench measures it before anything else.
public struct CeilingResult: Codable, Hashable, Sendable {
  public var name: String
  /// 1, or all.
  public var threads: Int
  public var unit: String
  /// Operations or bytes per second; nil where the CPU lacks the unit.
  public var rate: Spread?
  /// Which pattern was the best, for bandwidth.
  public var note: String?
}

/// Measures the ceilings of an OpenCL device.
public func measureCeilings(of device: DeviceCeiling, units: Int, rounds: Int) -> [CeilingResult] {
  let rates = (0..<rounds).map { _ in (device.compute(seconds: 0.1), device.bandwidth()) }
  return [
    CeilingResult(name: ComputeUnit.fma.rawValue, threads: units, unit: "GFLOP/s", rate: Spread(rates.map(\.0))),
    CeilingResult(
      name: "bandwidth", threads: units, unit: "GB/s", rate: Spread(rates.map(\.1)), note: "in-place update"),
  ]
}

/// Measures every ceiling on 1 and on all threads.
public func measureCeilings(threads: Int, memoryBytes: Int, rounds: Int) throws -> [CeilingResult] {
  var results: [CeilingResult] = []
  let counts = threads == 1 ? [1] : [1, threads]
  for unit in ComputeUnit.allCases {
    for count in counts {
      let rates = (0..<rounds).map { _ in unit.measure(threads: count, seconds: 0.1) }.filter { $0 > 0 }
      let label = unit == .dpbusd || unit == .maddwd ? "GOP/s" : "GFLOP/s"
      results.append(CeilingResult(name: unit.rawValue, threads: count, unit: label, rate: Spread(rates)))
    }
  }
  for count in counts {
    let memory = try MemoryCeiling(bytes: memoryBytes, threads: count)
    let passes = (0..<rounds).map { _ in memory.measureAll() }
    let spreads = passes[0].indices.map { pattern in
      (name: passes[0][pattern].name, rate: Spread(passes.map { $0[pattern].rate }))
    }
    let best = spreads.max { ($0.rate?.median ?? 0) < ($1.rate?.median ?? 0) }
    results.append(
      CeilingResult(name: "bandwidth", threads: count, unit: "GB/s", rate: best?.rate ?? nil, note: best?.name))
  }
  return results
}
