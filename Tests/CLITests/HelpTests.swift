// What the command line tells about itself, and how it refuses what it does not know.

import Foundation
import KilnTraining
import Testing

@testable import KilnCLI

@Suite struct HelpTests {
  let kiln: Kiln
  init() throws { kiln = try Kiln() }

  @Test func everyConfigurationPropertyIsAFlagWithADefault() throws {
    let help = try kiln("train", "--help")
    #expect(help.status == 0)
    let names = Mirror(reflecting: TrainingConfiguration()).children.compactMap(\.label)
    #expect(names.count > 25)
    for name in names + ["threads", "device", "out", "resume", "metrics", "config", "quiet"] {
      let flag = name.reduce(into: "--") { $0 += $1.isUppercase ? "-" + $1.lowercased() : String($1) }
      #expect(help.output.contains("\n  \(flag) ") || help.output.contains("\n  \(flag)\n"), "\(flag)")
    }
  }

  @Test(arguments: [["train"], ["eval"], ["generate"], ["tokenizer", "train"], ["info"], ["tune"]])
  func everyOptionStatesItsDefault(command: [String]) throws {
    let help = try kiln.run(command + ["--help"]).output
    let options = help.replacing("\n                          ", with: " ").split(separator: "\n").filter {
      $0.hasPrefix("  --") || $0.hasPrefix("  <")
    }
    #expect(options.count >= (command == ["tune"] ? 1 : 2))
    let plain = ["--version", "--json", "--tensors", "--devices"]
    for option in options where !plain.contains(where: option.contains) {
      #expect(option.contains("(default: ") || option.contains("(required"), "\(option)")
    }
  }

  @Test(arguments: [
    (["train", "--layrs", "3"], "--layers"), (["eval", "--modle", "x"], "--model"),
    (["generate", "--max-token", "3"], "--max-tokens"), (["tokenizer", "train", "--vocab-sise", "3"], "--vocab-size"),
    (["info", "--tensor", "x"], "--tensors"),
  ])
  func unknownOptionNamesTheNearest(arguments: [String], nearest: String) throws {
    let result = try kiln.run(arguments)
    #expect(result.status == 64)
    #expect(result.output.isEmpty)
    #expect(result.errors.hasPrefix("error: Unknown option '\(arguments.last { $0.hasPrefix("--") } ?? "")'"))
    #expect(result.errors.contains("Did you mean '\(nearest)'?\nhint: see 'kiln "))
  }

  @Test func missingAndMalformedValuesAreUsageErrors() throws {
    let cases = [["train"], ["train", "--out", "r"], ["train", "--lr", "x"], ["eval"], ["generate", "--model", "m"]]
    for arguments in cases {
      let result = try kiln.run(arguments)
      #expect(result.status == 64, "\(arguments)")
      #expect(result.errors.hasPrefix("error: "))
      #expect(result.errors.split(separator: "\n").count == 2)
    }
  }

  @Test func versionAndDoctor() throws {
    #expect(try kiln("--version").output == kilnVersion + "\n")
    let doctor = try kiln("doctor")
    #expect(doctor.status == 0)
    #expect(doctor.output.contains("agree with the reference"))
    #expect(doctor.output.contains("KILN_THREADS = 1"))
  }
}

@Suite struct ArgumentTests {
  @Test func values() {
    #expect(Pair(argument: "0.9,0.95")?.values == [0.9, 0.95])
    #expect(Pair(argument: "0.9") == nil)
    #expect(Pair(argument: "0.9,x,0.1") == nil)
    #expect(Seconds(argument: "2h")?.value == 7200)
    #expect(Seconds(argument: "1h30m")?.value == 5400)
    #expect(Seconds(argument: "45s")?.value == 45)
    #expect(Seconds(argument: "12")?.value == 12)
    #expect(Seconds(argument: "h") == nil)
    #expect(Seconds(argument: "3x") == nil)
    #expect(Seconds(argument: "") == nil)
    #expect(TokenList(argument: "1, 2,3")?.tokens == [1, 2, 3])
    #expect(TokenList(argument: "1,,3") == nil)
  }

  @Test func streamedTextHoldsBackUnfinishedCharacters() {
    let text = "aé€😀b"
    var stream = StreamedText()
    let pieces = text.utf8.map { stream.append([$0]) }
    #expect(pieces == ["a", "", "é", "", "", "€", "", "", "", "😀", "b"])
    #expect(stream.append([0xE2]) == "")
    #expect(stream.rest() == "\u{FFFD}")
    #expect(stream.append([0xFF, 0x41]) == "\u{FFFD}A")
  }
}
