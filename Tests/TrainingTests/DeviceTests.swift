import Foundation
import KilnKernels
import Testing

@testable import KilnTraining

/// Runs on OpenCL devices beside those on the CPU.
struct DeviceTests: TinyRuns {
  /// A run that moves to another device goes on as it would have.
  @Test(arguments: GoldenTests.openCL, [false, true]) func checkpointsAreOfNoDevice(
    _ device: Context.Device, _ beginsThere: Bool
  ) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 8)
      configuration.evalData = configuration.data[0]
      let whole = try train(configuration, out: folder.appendingPathComponent("whole"))
      let out = folder.appendingPathComponent("parts")
      var metrics: [StepMetrics] = []
      let places: [Context.Device] = beginsThere ? [device, .cpu] : [.cpu, device]
      for (index, place) in places.enumerated() {
        let point = index == 0 ? nil : try TrainingConfiguration.resume(out)
        let trainer = try Trainer(
          configuration, out: out, resuming: point, options: Trainer.Options(threads: 2, device: place))
        try trainer.run(
          isOver: { index == 0 && $0 == 4 }, onEvent: { if case .step(let step) = $0 { metrics.append(step) } })
      }
      #expect(metrics.map(\.step) == whole.map(\.step))
      for (step, expected) in zip(metrics, whole) {
        #expect(abs(step.loss / expected.loss - 1) < 1e-4, "step \(step.step): \(step.loss), not \(expected.loss)")
      }
      #expect(abs(try #require(metrics.last?.evalLoss) / #require(whole.last?.evalLoss) - 1) < 1e-4)
    }
  }

  /// The same bits from run to run.
  @Test(arguments: GoldenTests.openCL) func runsAreRepeated(_ device: Context.Device) throws {
    try withTemporaryFolder { folder in
      let configuration = try configuration(in: folder, steps: 4)
      func run(_ name: String) throws -> [[UInt64]] {
        let trainer = try Trainer(
          configuration, out: folder.appendingPathComponent(name), options: Trainer.Options(device: device))
        var metrics: [StepMetrics] = []
        try trainer.run(onEvent: { if case .step(let step) = $0 { metrics.append(step) } })
        return bits(metrics)
      }
      #expect(try run("a") == run("b"))
    }
  }

  /// What has no kernels there is an error before the first step.
  @Test(arguments: GoldenTests.openCL) func gapsAreToldAtOnce(_ device: Context.Device) throws {
    let changes: [(String, (inout TrainingConfiguration) -> Void)] = [
      ("bf16", { $0.precision = .bf16 }), ("muon", { $0.optimizer = .muon }),
      ("mask_groups", { $0.sparsity = .srSTE }), ("slim", { $0.slimming = 1 }),
    ]
    try withTemporaryFolder { folder in
      for (text, change) in changes {
        var configuration = try configuration(in: folder)
        change(&configuration)
        let error = #expect(throws: KilnError.self) {
          try Trainer(
            configuration, out: folder.appendingPathComponent("out"), options: Trainer.Options(device: device))
        }
        #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
      }
    }
  }
}
