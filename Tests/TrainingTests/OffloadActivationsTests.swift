import Foundation
import KilnGraph
import KilnKernels
import Testing

@testable import KilnTraining

/// Activations behind the device: the same bits from less memory, alone and with every other rewrite.
struct OffloadActivationsTests: TinyRuns {
  /// Wide enough for what every layer keeps to leave.
  private func wide(in folder: URL, steps: Int = 3) throws -> TrainingConfiguration {
    var configuration = try configuration(in: folder, steps: steps)
    (configuration.layers, configuration.width, configuration.heads) = (8, 128, 2)
    (configuration.batch, configuration.microBatch) = (8, 8)
    return configuration
  }

  private func theBitsStay(_ configuration: TrainingConfiguration, in folder: URL) throws {
    let expected = try train(configuration, out: folder.appendingPathComponent("kept"))
    let plain = try Trainer(configuration, out: folder.appendingPathComponent("none")).plan.gradient.arenaBytes
    for isOnDisk in [true, false] {
      var configuration = configuration
      configuration.offload = [.activations]
      configuration.disk = isOnDisk ? folder.path : nil
      configuration.deviceMemory = isOnDisk ? nil : 1 << 30
      let out = folder.appendingPathComponent("\(isOnDisk)")
      #expect(bits(try train(configuration, out: out)) == bits(expected))
      #expect(try weights(out) == weights(folder.appendingPathComponent("kept")))
      let plan = try Trainer(configuration, out: folder.appendingPathComponent("none")).plan
      #expect(plan.gradient.arenaBytes <= plain, "\(plan.gradient.arenaBytes) of \(plain)")
      #expect(plan.activations?.byteCount ?? 0 > 0)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).allSatisfy { !$0.hasPrefix(".kiln") })
  }

  @Test(arguments: TrainingConfiguration.Architecture.allCases, Precision.allCases)
  func theBitsStay(_ architecture: TrainingConfiguration.Architecture, _ precision: Precision) throws {
    try withTemporaryFolder { folder in
      var configuration = try wide(in: folder)
      (configuration.arch, configuration.precision) = (architecture, precision)
      try theBitsStay(configuration, in: folder)
    }
  }

  @Test func withOtherRewritesAndUpdates() throws {
    for change in [
      { $0.recompute = .every(1) }, { $0.recompute = .attention }, { $0.compressActivations = .uniform(8) },
      { $0.microBatch = 4 }, { $0.gradClip = 0 },
      { ($0.compressActivations, $0.recompute, $0.gradClip) = (.uniform(8), .squareRoot, 0) },
    ] as [(inout TrainingConfiguration) -> Void] {
      try withTemporaryFolder { folder in
        var configuration = try wide(in: folder)
        change(&configuration)
        try theBitsStay(configuration, in: folder)
      }
    }
  }

  /// A number that goes wrong is named as it is without offloading.
  @Test func faultsAreFound() throws {
    try withTemporaryFolder { folder in
      var configuration = try wide(in: folder, steps: 20)
      (configuration.optimizer, configuration.lr, configuration.warmup) = (.sgd, 1e25, 0)
      (configuration.gradClip, configuration.schedule) = (0, .constant)
      let kept = #expect(throws: KilnError.self) { try train(configuration, out: folder.appendingPathComponent("a")) }
      configuration.offload = [.activations]
      let offloaded = #expect(throws: KilnError.self) {
        try train(configuration, out: folder.appendingPathComponent("b"))
      }
      #expect(kept != nil && kept == offloaded)
    }
  }

  /// What does not fit the device goes behind it, without a word of how.
  @Test(arguments: [Precision.fp32, .bf16]) func aSmallDeviceIsEnough(_ precision: Precision) throws {
    try withTemporaryFolder { folder in
      var configuration = try wide(in: folder)
      (configuration.precision, configuration.gradClip) = (precision, 0)
      let free = try TrainingPlanner().plan(configuration)
      let out = folder.appendingPathComponent("large")
      let expected = bits(try train(configuration, out: out))
      var ways: Set<[TrainingConfiguration.Offload]> = []
      for share in [0.9, 0.7, 0.6] {
        configuration.deviceMemory = Int(Double(free.memory.device) * share)
        let plan = try TrainingPlanner().plan(configuration)
        #expect(plan.memory.device <= configuration.deviceMemory ?? 0 && plan.memory[.host] >= 0)
        ways.insert(plan.configuration.offload)
        let small = folder.appendingPathComponent("\(share)")
        #expect(bits(try train(configuration, out: small)) == expected, "\(share)")
        #expect(try weights(small) == weights(out), "\(share)")
      }
      #expect(ways.count > 1)
      configuration.deviceMemory = 1 << 16
      let error = #expect(throws: KilnError.self) { try TrainingPlanner().plan(configuration) }
      #expect(error?.message.contains("is too small: the device takes at least") == true)
    }
  }
}
