// A plan for people: memory over the operations of a step.

import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels

public enum PlanReport {
  /// Writes the page so that a reader never meets half of it.
  /// - Parameter rows: the plan in words.
  public static func write(
    _ plan: TrainingPlan, to url: URL, rows: [(name: String, value: String)]
  ) throws(KilnError) {
    let page = ReportPage(
      kind: "Kiln plan", title: "\(formatBytes(plan.memory.total)) at its peak", tiles: tiles(plan),
      charts: [chart(plan)],
      rows: rows.map { RunSummary.Row($0.name.trimmingCharacters(in: .whitespaces), $0.value) })
    try AtomicFile.write(Data(page.html.utf8), to: url)
  }

  private static func tiles(_ plan: TrainingPlan) -> [ReportPage.Tile] {
    let memory = plan.memory
    return [
      .init("Peak memory", formatBytes(memory.total), note: "of the whole process"),
      .init("Weights", formatBytes(memory[.weights]), note: "with their masters"),
      .init("Optimizer", formatBytes(memory[.states]), note: "state"),
      .init("Gradients", formatBytes(memory[.gradients]), note: plan.updateMode),
      .init("Activations", formatBytes(memory[.activations]), note: "when most is in use"),
      .init("Step", formatDuration(plan.seconds), note: plan.isMeasured ? "at measured rates" : "at nominal rates"),
    ]
  }

  /// Each kind on top of those before it, so that the highest line is all of it.
  private static func chart(_ plan: TrainingPlan) -> SVGChart {
    let occupancy = plan.gradient.occupancy
    let persistent = plan.memory[.weights] + plan.memory[.states]
    func line(_ name: String, _ style: ChartSeries.Style, _ bytes: (Int) -> Int) -> ChartSeries {
      ChartSeries(
        name, style, occupancy.indices.map { .init(x: Double($0), y: Double(bytes($0)) / Double(1 << 20)) })
    }
    return SVGChart(
      title: "Memory over a step", unit: "MiB, by operation; weights and states are the dashed level",
      series: [
        line("in use", .line) { persistent + occupancy[$0].values.reduce(0, +) },
        line("activations", .measured) { persistent + occupancy[$0][.activation, default: 0] },
        line("weights and states", .reference) { _ in persistent },
      ], scale: .fromZero, isMain: true, place: "operation")
  }
}
