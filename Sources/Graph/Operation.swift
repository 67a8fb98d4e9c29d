import KilnKernels

/// One kind of node. All that the system knows of an operation stands in its type, in `Operations/<Family>.swift`.
public protocol Operation: Sendable {
  /// Types of the outputs, or an error that names the shapes which do not fit.
  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType]

  /// The gradient, recorded as more graph: one value for each input, nil where there is none.
  func pullback(_ pull: Pullback) throws(KilnError) -> [Value?]

  /// What it costs: the planner's and the bench's figures.
  func work(for inputs: [TensorType]) -> Work

  /// Exactly one call through the dispatch table of the step's context.
  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError)

  /// Outputs that share memory with an input.
  var sharing: [Sharing] { get }

  /// Inputs that are written in place: persistent tensors.
  var mutated: [Int] { get }

  /// Runs as soon as its inputs are there, wherever it was recorded: what uses up a gradient.
  var isEager: Bool { get }

  /// That the gradient of the output is, unchanged, the first input's, whose own it then accumulates as.
  var passesGradient: Bool { get }

  /// That the output is a weight in another layout, whose gradient is as wide as the weight's.
  var rearrangesWeight: Bool { get }

  /// Where a transfer goes on after the operation has returned: its memory is not to be touched until another operation
  /// has waited for it. Nil for an operation that is over when it returns.
  var background: ActivationStore? { get }

  /// Whether it goes on reading its inputs when it has returned: until the next operation of this kind has begun, which
  /// waits for that, or the run is over.
  var holdsInputs: Bool { get }

  /// Whether the forward makes a gradient in this place already, as a loss does.
  func isGradient(output: Int) -> Bool

  /// The name, for messages and plans: by default the type's.
  var label: String { get }

  /// A cheap way to have an output again from values that are kept anyway; nil keeps the output for the backward.
  func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)?
}

extension Operation {
  public var sharing: [Sharing] { [] }
  public var mutated: [Int] { [] }
  public var isEager: Bool { false }
  public var passesGradient: Bool { false }
  public var rearrangesWeight: Bool { false }
  public var background: ActivationStore? { nil }
  public var holdsInputs: Bool { false }
  public func isGradient(output: Int) -> Bool { false }
  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    nil
  }

  /// For operations that nothing is differentiated through: updates, gradients, decoding.
  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    throw KilnError(.unsupported, "\(type(of: self)) has no gradient")
  }

  /// By default, the traffic: every input read and every output written once.
  public func work(for inputs: [TensorType]) -> Work {
    let outputs = (try? outputs(for: inputs)) ?? []
    return Work(flops: 0, bytes: (inputs + outputs).reduce(0) { $0 + $1.byteCount })
  }

  public var label: String { String(describing: type(of: self)) }
}

/// That an output may or must lie where an input lies.
public struct Sharing: Sendable {
  public enum Kind: Sendable {
    /// The operation works in place as well; done where the input is not needed any more.
    case allowed
    /// The output starts as the input's value (it is accumulated into): shared where the input is not needed any more,
    /// otherwise the planner copies first.
    case continues
  }

  public let output: Int
  public let input: Int
  public let kind: Kind

  public static func allowed(_ output: Int, _ input: Int) -> Sharing {
    Sharing(output: output, input: input, kind: .allowed)
  }
  public static func continues(_ output: Int, _ input: Int) -> Sharing {
    Sharing(output: output, input: input, kind: .continues)
  }
}

/// Floating-point operations (a multiply and an add are two) and bytes moved at least.
public struct Work: Sendable, Hashable {
  public var flops: Int
  public var bytes: Int

  public init(flops: Int, bytes: Int) {
    self.flops = flops
    self.bytes = bytes
  }
}

/// What an operation may depend on beyond its inputs.
public struct StepContext {
  public let context: Context
  public let seed: UInt64
  /// Steps done before this one.
  public let step: Int

  public init(context: Context, seed: UInt64 = 0, step: Int = 0) {
    self.context = context
    self.seed = seed
    self.step = step
  }

  /// The random numbers of one site in this step.
  public func key(site: UInt32) -> RandomKey { RandomKey(seed: seed, step: UInt64(step), site: site) }
}

/// An operation applied to values.
public struct Node {
  public let operation: any Operation
  public let inputs: [Value]
  public let outputs: [Value]
  /// Where in the model it was recorded: "transformer.h.3.attn", followed by "backward" for a gradient.
  public let scope: String
  /// The forward node whose gradient it is part of.
  public let origin: Int?

  /// For plans and messages.
  public var name: String { scope.isEmpty ? operation.label : "\(scope): \(operation.label)" }
}
