// The command `kiln-bench`.

import ArgumentParser

@main
struct KilnBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kiln-bench", abstract: "Measures Kiln against the machine's ceilings and against other libraries.",
    subcommands: [
      RunCommand.self, TrainCommand.self, CompressCommand.self, MemoryCommand.self, DiffCommand.self, TableCommand.self,
      WorkerCommand.self,
    ],
    defaultSubcommand: RunCommand.self)
}
