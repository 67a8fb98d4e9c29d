// The command `kiln`: its subcommands, and what becomes of errors.

import ArgumentParser
import Foundation
import Kiln

@main
struct KilnCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kiln", abstract: "Trains, evaluates and runs Transformer language models.",
    version: kilnVersion,
    subcommands: [
      TrainCommand.self, PlanCommand.self, EvalCommand.self, GenerateCommand.self, TokenizerCommand.self,
      InfoCommand.self, DoctorCommand.self, TuneCommand.self,
    ])

  static func main() {
    // A file that may not grow is then an error of the call that writes to it, with a message.
    signal(SIGXFSZ, SIG_IGN)
    do {
      var command = try parseAsRoot(joiningNegativeNumbers(CommandLine.arguments.dropFirst()))
      try command.run()
    } catch {
      end(with: error)
    }
  }

  /// `--steps -1` as `--steps=-1`: apart, the parser would take the number for an option.
  private static func joiningNegativeNumbers(_ arguments: some Sequence<String>) -> [String] {
    arguments.reduce(into: []) { joined, argument in
      if Double(argument) ?? 0 < 0, let option = joined.last, option.hasPrefix("--"), !option.contains("=") {
        joined[joined.count - 1] = "\(option)=\(argument)"
      } else {
        joined.append(argument)
      }
    }
  }

  /// Ends the process: 0 after help, 64 for what the parser refuses, 1 for everything else.
  private static func end(with error: any Error) -> Never {
    if let error = error as? KilnError {
      Terminal.error(error)
      Foundation.exit(1)
    }
    let code = exitCode(for: error)
    if code.isSuccess {
      Terminal.print(fullMessage(for: error))
    } else if code == .validationFailure {
      Terminal.error(KilnError(.argument, message(for: error), hint: "see '\(calledCommand) --help'"))
    } else if !(error is ExitCode) {
      Terminal.error(KilnError(.unsupported, message(for: error)))
    }
    Foundation.exit(code.rawValue)
  }

  /// The command as it was called, without its arguments: `kiln tokenizer train`.
  private static var calledCommand: String {
    var names = ["kiln"]
    var children = configuration.subcommands
    for argument in CommandLine.arguments.dropFirst() {
      guard let child = children.first(where: { $0._commandName == argument }) else { break }
      names.append(argument)
      children = child.configuration.subcommands
    }
    return names.joined(separator: " ")
  }
}
