import Foundation
import KilnTestSupport
import Testing

/// The programs in Examples/c, built as a C user builds them.
@Suite(.enabled(if: Toolchain.clang != nil, "there is no C compiler beside swift or on PATH"))
struct ExampleTests {
  static let source = Toolchain.package.appendingPathComponent("Examples/c/train.c")
  static let program = Result { try Toolchain.build(source, compiler: Toolchain.cc ?? Toolchain.clang) }

  @Test func trainingLowersTheLoss() throws {
    let output = try Toolchain.check(Self.program.get().path, [])
    let losses = output.split(separator: "\n").compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
    try #require(losses.count > 50)
    // At the start all 256 bytes are about equally likely; at the end the text is known by heart.
    #expect(abs(losses[0] - log(256)) < 0.1)
    #expect(losses.suffix(10).allSatisfy { $0 < 1.2 })
  }

  @Test func trainingRefusesATextThatItCannotUse() throws {
    let program = try Self.program.get()
    let missing = try Toolchain.run(program.path, [Toolchain.folder.appendingPathComponent("none").path])
    #expect(missing.status == 1 && missing.output == "train: the text cannot be opened\n")
    let short = try Toolchain.run(program.path, [HeaderTests.write("short.txt", "too short").path])
    #expect(short.status == 1 && short.output == "train: the text is too short\n")
  }

  /// The example stays short enough to be read in one sitting.
  @Test func trainingFitsThreeHundredLines() throws {
    let text = try String(contentsOf: Self.source, encoding: .utf8)
    #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count <= 301)
  }
}
