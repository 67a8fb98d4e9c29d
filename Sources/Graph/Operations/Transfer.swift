import KilnKernels

/// Where activations are between the forward and the backward. Operations that begin a transfer return at once; others
/// wait for it.
public final class ActivationStore: @unchecked Sendable {
  public let place: BackingStore.Place
  public private(set) var byteCount = 0
  private var ranges: [Range<Int>] = []
  private var transfers: [Background?] = []
  private var opened: BackingStore?

  public init(in place: BackingStore.Place) { self.place = place }

  /// A slot for a value.
  func reserve(_ bytes: Int) -> Int {
    ranges.append(byteCount..<byteCount + BackingStore.aligned(bytes))
    transfers.append(nil)
    byteCount = ranges[ranges.count - 1].upperBound
    return ranges.count - 1
  }

  /// Reserves the memory; to be called before the first run.
  public func open() throws(KilnError) {
    if opened == nil { opened = try BackingStore(in: place, byteCount: byteCount) }
  }

  /// Whether transfers pass the page cache by; false before `open`.
  public var isDirect: Bool { opened?.isDirect ?? false }

  private func begin(_ slot: Int, _ tensor: Tensor, _ transfer: (BackingStore, Range<Int>, Storage) -> Background) {
    // Planning runs operations on tensors without data.
    guard let arena = tensor.storage else { return }
    guard let opened else { preconditionFailure("activations are offloaded before their place is opened") }
    let range = ranges[slot]
    // Blocks of the arena take whole pages as well.
    let storage = Storage(part: tensor.byteOffset..<tensor.byteOffset + range.count, of: arena)
    transfers[slot] = transfer(opened, range, storage)
  }

  fileprivate func write(_ slot: Int, _ tensor: Tensor) { begin(slot, tensor) { $0.write($1, from: $2) } }
  fileprivate func read(_ slot: Int, _ tensor: Tensor) { begin(slot, tensor) { $0.read($1, into: $2) } }

  fileprivate func wait(_ slot: Int) throws(KilnError) {
    defer { transfers[slot] = nil }
    try transfers[slot]?.wait()
  }

  /// Waits for all, whatever becomes of them.
  func settle() {
    for slot in transfers.indices { try? wait(slot) }
  }
}

/// Begins to move a value away.
struct Evict: Operation {
  let store: ActivationStore
  let slot: Int

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }
  var background: ActivationStore? { store }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    store.write(slot, inputs[0])
  }
}

/// Waits until the value is away: its memory is free then.
struct Evicted: Operation {
  let store: ActivationStore
  let slot: Int

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) { try store.wait(slot) }
}

/// Begins to bring a value back. The output is its memory.
struct Fetch: Operation {
  let type: TensorType
  let store: ActivationStore
  let slot: Int

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [type] }
  var background: ActivationStore? { store }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    store.read(slot, outputs[0])
  }
}

/// Waits until the value is back.
struct Fetched: Operation {
  let store: ActivationStore
  let slot: Int

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { inputs }
  var sharing: [Sharing] { [.continues(0, 0)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) { try store.wait(slot) }
}
