import KilnKernels
import KilnOptimizers
import Testing

@testable import KilnTraining

/// The learning rate over a run of 100 steps, 10 of them warm-up.
struct ScheduleTests {
  private func rates(_ shape: Schedule.Shape, at steps: [Int], floor: Double = 0) throws -> [Double] {
    let schedule = try Schedule(shape, peak: 2, warmup: 10, steps: 100, floor: floor)
    return steps.map { (schedule.rate(at: $0) * 1e6).rounded() / 1e6 }
  }

  @Test(arguments: Schedule.Shape.allCases) func warmsUpToThePeak(_ shape: Schedule.Shape) throws {
    #expect(try rates(shape, at: [0, 4, 9, 10]) == [0.2, 1, 2, 2])
  }

  @Test func decays() throws {
    #expect(try rates(.constant, at: [55, 99, 500]) == [2, 2, 2])
    #expect(try rates(.linear, at: [55, 91, 100, 500]) == [1, 0.2, 0, 0])
    #expect(try rates(.cosine, at: [40, 55, 70, 100, 500]) == [1.5, 1, 0.5, 0, 0])
    #expect(try rates(.wsd, at: [79, 80, 90, 95, 100]) == [2, 2, 1, 0.5, 0])
    #expect(try rates(.linear, at: [55, 100], floor: 0.1) == [1.1, 0.2])
  }

  @Test func followsTheBatch() throws {
    var configuration = TrainingConfiguration()
    (configuration.lr, configuration.batch, configuration.steps) = (0.1, 64, 10)
    for (scaling, peak) in [(LearningRateScaling.none, 0.1), (.linear, 0.4), (.sqrt, 0.2)] {
      configuration.lrScaling = scaling
      #expect(abs(try configuration.rates(steps: 10).peak - peak) < 1e-12)
    }
  }

  @Test func refusesWhatIsNoRate() {
    #expect(throws: KilnError.self) { try Schedule(.cosine, peak: .nan, warmup: 0, steps: 10) }
    #expect(throws: KilnError.self) { try Schedule(.cosine, peak: 1, warmup: -1, steps: 10) }
  }
}
