// kiln-bench table, kiln-bench diff

import ArgumentParser
import Harness

struct TableCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "table", abstract: "Print a result as Markdown.")

  @Argument(help: "A file in Results/.") var result: String

  func run() throws { print(Report.markdown(try Results.read(result))) }
}

struct DiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Compare two results, case by case.",
    discussion: "\"slower\" and \"faster\" mark what the spreads of both do not explain.")

  @Argument(help: "The earlier result.") var a: String
  @Argument(help: "The later result.") var b: String

  func run() throws {
    let (before, after) = (try Results.read(a), try Results.read(b))
    print("A  \(Report.heading(before))\nB  \(Report.heading(after))\n")
    print(Difference.table(before, after).aligned)
  }
}
