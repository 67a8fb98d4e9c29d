/// Numbers that look random and are the same in every run: a linear congruential generator, whose high bits are good.
public struct RepeatableNumbers {
  private var state: UInt64 = 1

  public init() {}

  public mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state
  }
}
