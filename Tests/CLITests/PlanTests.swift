// kiln plan, and training within a plan.

import Foundation
import Testing

@Suite struct PlanCommandTests {
  let kiln: Kiln
  init() throws {
    kiln = try Kiln()
    try kiln.write(sampleText, to: "text.txt")
  }

  private struct Plan: Decodable {
    var peak_bytes: Int
    var seconds_per_step: Double
    var categories: [String: Int]
    var micro_batch: Int
    var choices: [Choice]
    var arena_bytes: Int
    var arena_lower_bound: Int

    struct Choice: Decodable {
      var name: String
      var bytes: Int
      var seconds: Double
    }
  }

  private let model = [
    "--layers", "8", "--heads", "2", "--width", "64", "--context", "64", "--batch", "32", "--data", "text.txt",
  ]

  private func plan(_ arguments: String...) throws -> Plan {
    let result = try kiln.run(["plan", "--json"] + model + arguments)
    #expect(result.status == 0, "\(result.errors)")
    return try JSONDecoder().decode(Plan.self, from: Data(result.output.utf8))
  }

  @Test func saysWhatARunTakesAndKeepsABudget() throws {
    let free = try plan()
    #expect(free.categories.values.reduce(0, +) == free.peak_bytes)
    #expect(free.choices.isEmpty && free.micro_batch == 32 && free.seconds_per_step > 0)
    #expect(Double(free.arena_bytes) <= 1.05 * Double(free.arena_lower_bound))
    let budget = free.peak_bytes - free.arena_bytes / 4
    let tight = try plan("--memory", "\(budget)", "--micro-batch", "32")
    #expect(tight.peak_bytes <= budget && tight.choices.count == 1)
    #expect(tight.choices[0].bytes > 0 && tight.choices[0].seconds > 0)
    // Both train to the same bits.
    for (out, more) in [("free", []), ("tight", ["--memory", "\(budget)", "--micro-batch", "32"])] {
      let result = try kiln.run(["train", "--steps", "3", "--out", out] + model + more)
      #expect(result.status == 0, "\(result.errors)")
    }
    #expect(try kiln.read("free/model.safetensors") == kiln.read("tight/model.safetensors"))
  }

  @Test func drawsAPage() throws {
    let result = try kiln.run(["plan", "--html", "plan.html", "--recompute", "sqrt"] + model)
    #expect(result.status == 0)
    #expect(result.output.contains("recomputation (sqrt)") && result.output.contains("largest when most is in use"))
    let page = String(decoding: try kiln.read("plan.html"), as: UTF8.self)
    #expect(page.contains("Memory over a step") && page.contains("Kiln plan"))
    #expect(!kiln.exists("run"))
  }
}
