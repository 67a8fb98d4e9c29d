import KilnGraph
import KilnKernels

/// An optimizer whose states lie behind the device, on disk or in the host's memory (ZeRO-Infinity: Rajbhandari et al.,
/// arXiv 2104.07857): they come in tiles, are updated, and go back, while the tiles before and after them are written and
/// read. The numbers do not change.
public struct OffloadedStates: Optimizer {
  public let base: any Optimizer
  private let tiles: StateTiles

  /// - Parameters:
  ///   - weights: all that will be updated.
  ///   - tile: elements that pass through memory at a time, a multiple of 256.
  public init(
    _ base: any Optimizer, of weights: [Parameter], in place: BackingStore.Place, tile: Int = 1 << 18
  ) throws(KilnError) {
    precondition(tile % StateFormat.block == 0)
    try base.checkOffloadable(weights)
    self.base = base
    tiles = StateTiles(base, weights, in: place, tile: tile)
  }

  /// Reserves the place, with states of zeros; to be called before the first update.
  /// - Parameter context: where updates run; nil for the host.
  public func open(on context: Context? = nil) throws(KilnError) { try tiles.open(on: context) }

  public func states(of weight: Parameter) -> [Parameter] { [] }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    guard w.weight.storage != nil else {
      let states = base.states(of: w.parameter).map { Tensor($0.shape, $0.type.dtype, in: nil) }
      return try base.update(w.with(states: states))
    }
    try tiles.update(w, base)
  }

  /// Memory that tiles pass through.
  public var stagingBytes: Int { tiles.stagingBytes }
  /// Whether they go past the system's page cache; false until it is open.
  public var isDirect: Bool { tiles.isDirect }
  /// Bytes behind the device.
  public var offloadedBytes: Int { tiles.byteCount }

  /// Copies a state from or to where it lies.
  public func load(_ state: Parameter, into tensor: Tensor, context: Context) throws(KilnError) {
    try tiles.visit(state) { (part, elements) throws(KilnError) in try context.copy(tensor.flat(elements), part) }
  }

  public func store(_ state: Parameter, from tensor: Tensor, context: Context) throws(KilnError) {
    try tiles.visit(state, isWriting: true) { (part, elements) throws(KilnError) in
      try context.copy(part, tensor.flat(elements))
    }
  }

  public var weightDecay: Double { base.weightDecay }
  public var format: StateFormat { base.format }
  public var name: String { base.name }
  public var summary: String { base.summary }
}

extension WeightUpdate {
  fileprivate func with(weight: Tensor? = nil, gradient: Tensor? = nil, states: [Tensor]) -> WeightUpdate {
    WeightUpdate(
      context: context, parameter: parameter, weight: weight ?? self.weight, gradient: gradient ?? self.gradient,
      states: states, options: options)
  }
}

extension Tensor {
  /// A run of elements in row-major order.
  fileprivate func flat(_ range: Range<Int>) -> Tensor { reshaped([shape.count]).slice(0, range) }
}

/// The states of all weights in a store, tile by tile: in each all states of a run of elements.
private final class StateTiles: @unchecked Sendable {
  private struct Tile {
    let weight: Int
    /// Of the weight.
    let elements: Range<Int>
    /// Of the store.
    let bytes: Range<Int>
  }

  /// Memory for one tile, and what is going on with it.
  private struct Slot {
    let storage: Storage
    var tile: Int?
    var transfer: Background?
  }

  private let place: BackingStore.Place
  private var opened: BackingStore?
  private(set) var byteCount = 0
  private let weights: [Parameter]
  private let states: [[Parameter]]
  private var tiles: [Tile] = []
  private var firstTile: [Int] = []  // by weight
  private let indices: [Parameter: Int]
  private var slots: [Slot] = []
  /// The weight that was updated after each, the last time; what is read ahead.
  private var following: [Int: Int] = [:]
  private var last: Int?

  private static let slotCount = 4

  init(_ base: any Optimizer, _ weights: [Parameter], in place: BackingStore.Place, tile: Int) {
    self.place = place
    self.weights = weights
    states = weights.map { base.states(of: $0) }
    indices = Dictionary(uniqueKeysWithValues: weights.enumerated().map { ($1, $0) })
    var offset = 0
    for (index, weight) in weights.enumerated() {
      firstTile.append(tiles.count)
      let count = weight.shape.count
      // Random numbers of rounding count from the beginning of a tensor.
      let isCut = base.isElementwise && base.format != .stochastic && weight.type.dtype == .float32
      let size = isCut ? tile : count
      for start in stride(from: 0, to: count, by: max(size, 1)) where !states[index].isEmpty {
        let elements = start..<min(start + size, count)
        let length = Self.layout(states[index], of: weight, elements).last?.end ?? 0
        let padded = BackingStore.aligned(length)
        tiles.append(Tile(weight: index, elements: elements, bytes: offset..<offset + padded))
        offset += padded
      }
    }
    byteCount = offset
  }

  func open(on context: Context?) throws(KilnError) {
    guard opened == nil else { return }
    opened = try BackingStore(in: place, byteCount: byteCount)
    for _ in 0..<Self.slotCount { slots.append(Slot(storage: try Storage(byteCount: largest, on: context))) }
  }

  var isDirect: Bool { opened?.isDirect ?? false }

  private var store: BackingStore {
    guard let opened else { preconditionFailure("offloaded states are used before they are opened") }
    return opened
  }

  private var largest: Int { tiles.map(\.bytes.count).max() ?? 0 }
  var stagingBytes: Int { Self.slotCount * largest }

  /// Where the states of a run of elements lie in their tile: elements of the state, and bytes. A state has an element for
  /// each of the weight's, or for each block of them.
  private static func layout(
    _ states: [Parameter], of weight: Parameter, _ elements: Range<Int>
  ) -> [(part: Range<Int>, start: Int, end: Int)] {
    var offset = 0
    return states.map { state in
      let count = state.shape.count
      let isWhole = elements.count == weight.shape.count
      let perElement = count == weight.shape.count ? 1 : StateFormat.block
      let part =
        isWhole ? 0..<count : elements.lowerBound / perElement..<(elements.upperBound + perElement - 1) / perElement
      let start = (offset + 63) / 64 * 64
      offset = start + part.count * state.type.dtype.size
      return (part, start, offset)
    }
  }

  private func tensors(of tile: Tile, in storage: Storage) -> [Tensor] {
    zip(states[tile.weight], Self.layout(states[tile.weight], of: weights[tile.weight], tile.elements)).map {
      Tensor($1.part.count == $0.shape.count ? $0.shape : [$1.part.count], $0.type.dtype, in: storage, at: $1.start)
    }
  }

  func update(_ w: WeightUpdate, _ base: any Optimizer) throws(KilnError) {
    guard let weight = indices[w.parameter] else { preconditionFailure("a weight without tiles") }
    if let last { following[last] = weight }
    last = weight
    guard !states[weight].isEmpty else { return try base.update(w.with(states: [])) }
    for index in firstTile[weight]..<endTile(of: weight) {
      let tile = tiles[index]
      let slot = try hold(index)
      for next in upcoming(after: index) { try begin(next, keeping: slot) }
      let states = tensors(of: tile, in: slots[slot].storage)
      let isWhole = tile.elements.count == w.weight.shape.count
      try base.update(
        isWhole
          ? w.with(states: states)
          : w.with(weight: w.weight.flat(tile.elements), gradient: w.gradient.flat(tile.elements), states: states))
      slots[slot].transfer = store.write(tile.bytes, from: slots[slot].storage)
    }
  }

  private func endTile(of weight: Int) -> Int { weight + 1 < firstTile.count ? firstTile[weight + 1] : tiles.count }

  /// The two tiles that will be asked for next.
  private func upcoming(after index: Int) -> [Int] {
    var result: [Int] = []
    var at = index
    for _ in 0..<2 {
      let weight = tiles[at].weight
      if at + 1 < endTile(of: weight) {
        at += 1
      } else {
        guard let next = following[weight], firstTile[next] < endTile(of: next) else { break }
        at = firstTile[next]
      }
      result.append(at)
    }
    return result
  }

  /// The slot that has a tile, read and ready.
  private func hold(_ tile: Int) throws(KilnError) -> Int {
    let slot = try begin(tile, keeping: nil)
    try slots[slot].transfer?.wait()
    slots[slot].transfer = nil
    return slot
  }

  /// The slot that has a tile or is reading it. A slot that is taken from another tile waits until that is written.
  @discardableResult
  private func begin(_ tile: Int, keeping kept: Int?) throws(KilnError) -> Int {
    if let known = slots.firstIndex(where: { $0.tile == tile }) { return known }
    // Slots are used in turn, so the one after the newest is the oldest.
    let slot = slots.indices.first { $0 != kept && slots[$0].tile == nil } ?? oldest(but: kept)
    try slots[slot].transfer?.wait()
    slots[slot].tile = tile
    slots[slot].transfer = store.read(tiles[tile].bytes, into: slots[slot].storage)
    turn = slot + 1
    return slot
  }

  private var turn = 0

  private func oldest(but kept: Int?) -> Int {
    let first = turn % slots.count
    return first == kept ? (first + 1) % slots.count : first
  }

  /// Lends each tile's part of a state, and which elements of the state it has.
  func visit(
    _ state: Parameter, isWriting: Bool = false, _ body: (Tensor, Range<Int>) throws(KilnError) -> Void
  ) throws(KilnError) {
    guard let weight = states.firstIndex(where: { $0.contains(state) }),
      let place = states[weight].firstIndex(of: state)
    else { preconditionFailure("no such offloaded state: \(state.name)") }
    for index in firstTile[weight]..<endTile(of: weight) {
      let slot = try hold(index)
      let tensor = tensors(of: tiles[index], in: slots[slot].storage)[place]
      let part = Self.layout(states[weight], of: weights[weight], tiles[index].elements)[place].part
      try body(tensor.reshaped([tensor.shape.count]), part)
      if isWriting { slots[slot].transfer = store.write(tiles[index].bytes, from: slots[slot].storage) }
    }
  }
}
