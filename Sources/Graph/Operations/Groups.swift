import KilnKernels

/// Activations in 8, 4 or 2 bits by groups of 256, rounded stochastically so that their mean is x (ActNN: Chen et al.,
/// arXiv 2104.14129). Outputs: codes (uint8) and for each group its scale and lowest value (bf16).
struct CompressGroups: Operation {
  let bits: Int
  /// Which random numbers rounding takes.
  let site: UInt32

  static let group = 256

  var label: String { "CompressGroups in \(bits) bits" }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let groups = (inputs[0].shape.count + Self.group - 1) / Self.group
    return [TensorType([groups, Self.group / 8 * bits], .uint8), TensorType([groups, 2], .bfloat16)]
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.quantizeGroups(
      outputs[0], scales: outputs[1], inputs[0], bits: bits, key: step.key(site: site))
  }
}

/// Inputs: codes and scales of `CompressGroups`. Output: a value of the given type.
struct DecompressGroups: Operation {
  let type: TensorType
  let bits: Int

  var label: String { "DecompressGroups of \(bits) bits" }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [type] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.dequantizeGroups(outputs[0], inputs[0], scales: inputs[1], bits: bits)
  }
}
