import Foundation
import KilnKernels
import KilnOptimizers
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

  /// What lies behind the device changes no bit of the run.
  @Test(arguments: GoldenTests.openCL) func whatLiesBehindItMakesNoDifference(_ device: Context.Device) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 3)
      (configuration.layers, configuration.width, configuration.heads) = (6, 128, 2)
      (configuration.batch, configuration.microBatch, configuration.gradClip) = (8, 8, 0)
      let kept = folder.appendingPathComponent("kept")
      let expected = bits(try train(configuration, out: kept, device: device))
      let ways: [([TrainingConfiguration.Offload], isOnDisk: Bool)] = [
        ([.states], false), ([.states, .activations], false), ([.states, .activations], true), ([.optimizer], false),
      ]
      for (index, way) in ways.enumerated() {
        configuration.offload = way.0
        configuration.disk = way.isOnDisk ? folder.path : nil
        configuration.deviceMemory = way.isOnDisk ? nil : 1 << 30
        let out = folder.appendingPathComponent("\(index)")
        let metrics = try train(configuration, out: out, device: device)
        if way.0 == [.optimizer] {
          // The host's updates have the host's roundings.
          let losses = zip(metrics, expected).map { abs($0.loss / Double(bitPattern: $1[1]) - 1) }
          #expect(losses.allSatisfy { $0 < 1e-4 }, "\(losses)")
        } else {
          #expect(bits(metrics) == expected, "\(way)")
          #expect(try weights(out) == weights(kept), "\(way)")
        }
      }
    }
  }

  /// Every optimizer, with its states in every form that there are kernels for.
  @Test(arguments: TrainingConfiguration.OptimizerName.allCases, [StateFormat.fp32, .eightBit])
  func everyOptimizer(_ name: TrainingConfiguration.OptimizerName, _ format: StateFormat) throws {
    guard let device = GoldenTests.openCL.first else { return }
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 3)
      (configuration.optimizer, configuration.optimizerState) = (name, format)
      guard (try? configuration.validate()) != nil else { return }
      let host = try train(configuration, out: folder.appendingPathComponent("host"))
      let there = try train(configuration, out: folder.appendingPathComponent("there"), device: device)
      for (a, b) in zip(host, there) { #expect(abs(a.loss / b.loss - 1) < 1e-4, "step \(a.step)") }
    }
  }

  /// Activations in few bits have the host's random numbers, so that a run is what it is there.
  @Test(arguments: GoldenTests.openCL) func activationsInFewBits(_ device: Context.Device) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 4)
      configuration.compressActivations = .uniform(4)
      let host = try train(configuration, out: folder.appendingPathComponent("host"))
      let there = try train(configuration, out: folder.appendingPathComponent("there"), device: device)
      for (a, b) in zip(host, there) { #expect(abs(a.loss / b.loss - 1) < 1e-4, "step \(a.step)") }
    }
  }

  /// A device that is smaller than the run works through what lies behind it, without a word of how.
  @Test(arguments: GoldenTests.openCL) func aSmallDeviceIsEnough(_ device: Context.Device) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 2)
      (configuration.layers, configuration.width, configuration.heads) = (6, 128, 2)
      (configuration.batch, configuration.microBatch, configuration.gradClip) = (8, 8, 0)
      let options = Trainer.Options(device: device)
      let free = try TrainingPlanner().plan(configuration, options: options)
      let expected = bits(try train(configuration, out: folder.appendingPathComponent("large"), device: device))
      configuration.deviceMemory = free.memory.device * 6 / 10
      let plan = try TrainingPlanner().plan(configuration, options: options)
      #expect(plan.memory.device <= configuration.deviceMemory ?? 0 && !plan.configuration.offload.isEmpty)
      #expect(bits(try train(configuration, out: folder.appendingPathComponent("small"), device: device)) == expected)
      // What no device has is refused before anything is taken.
      (configuration.layers, configuration.width, configuration.heads) = (2, 1 << 17, 2)
      configuration.deviceMemory = nil
      let error = #expect(throws: KilnError.self) { try TrainingPlanner().plan(configuration, options: options) }
      #expect(error?.message.contains("\(device) has ") == true && error?.hint?.contains("--device-memory") == true)
    }
  }

  /// What has no kernels there is an error before the first step.
  @Test(arguments: GoldenTests.openCL) func gapsAreToldAtOnce(_ device: Context.Device) throws {
    let changes: [(String, (inout TrainingConfiguration) -> Void)] = [
      ("quantize_int8", { $0.precision = .int8 }), ("adam: OpenCL", { ($0.precision, $0.master) = (.bf16, .none) }),
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
