import KilnKernels

/// The persistent tensors of a run, by parameter.
public final class ParameterStore {
  private var tensors: [Parameter: Tensor] = [:]
  private let limit: Int?
  private let context: Context?

  /// - Parameters:
  ///   - context: where its tensors are worked on; nil for the host's memory.
  ///   - limit: bytes that its tensors may take.
  public init(on context: Context? = nil, limit: Int? = nil) {
    self.limit = limit
    self.context = context
  }

  /// The tensor of a parameter; new ones are zeros.
  public func tensor(_ parameter: Parameter) throws(KilnError) -> Tensor {
    if let known = tensors[parameter] { return known }
    if let limit, byteCount + parameter.type.byteCount > limit {
      throw KilnError(
        .memory, "'\(parameter.name)' does not fit the device: \(limit) bytes are left for what stays there",
        hint: "give it more --device-memory")
    }
    let tensor = try Tensor(zeros: parameter.shape, parameter.type.dtype, on: context)
    tensors[parameter] = tensor
    return tensor
  }

  /// Uses memory that is there already, such as a mapped file; it must then only be read.
  public func bind(_ parameter: Parameter, to tensor: Tensor) {
    precondition(tensor.shape == parameter.shape && tensor.dtype == parameter.type.dtype)
    tensors[parameter] = tensor
  }

  public func remove(_ parameter: Parameter) { tensors[parameter] = nil }

  public var parameters: [Parameter] { tensors.keys.sorted { $0.name < $1.name } }
  public var byteCount: Int { tensors.values.reduce(0) { $0 + $1.byteCount } }
}
