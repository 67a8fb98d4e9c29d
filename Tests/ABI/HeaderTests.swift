import Foundation
import KilnTestSupport
import Testing

/// The public headers as a C or C++ user meets them.
@Suite(.enabled(if: Toolchain.clang != nil, "there is no C compiler beside swift or on PATH"))
struct HeaderTests {
  static var headers: [String] {
    let folder = Toolchain.package.appendingPathComponent("include/kiln").path
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasSuffix(".h") }.sorted().map { "kiln/\($0)" } + ["kiln.h"]
  }

  /// The names of all functions that the headers declare.
  static func declared() throws -> [String] {
    let names = try headers.flatMap { header in
      let text = try String(contentsOf: Toolchain.package.appendingPathComponent("include/\(header)"), encoding: .utf8)
      return text.matches(of: #/(?m)^KILN_API\s[^;(]*?(kiln_\w+)\(/#).map { String($0.1) }
    }
    return names.sorted()
  }

  static func write(_ name: String, _ text: String) throws -> URL {
    let file = Toolchain.folder.appendingPathComponent(name)
    try text.write(to: file, atomically: true, encoding: .utf8)
    return file
  }

  @Test func eachCompilesAlone() throws {
    try #require(Self.headers.count > 10)
    for header in Self.headers {
      let name = header.replacing("/", with: "_").replacing(".", with: "_")
      let source = try Self.write("\(name).c", "#include <\(header)>\n").path
      let include = "-I\(Toolchain.package.path)/include"
      for compiler in [Toolchain.clang, Toolchain.cc].compactMap({ $0 }) {
        try Toolchain.check(compiler, Toolchain.strict + ["-fsyntax-only", include, source])
      }
      let strict = Toolchain.strict.map { $0 == "-std=c99" ? "-std=c++17" : $0 }
      try Toolchain.check(Toolchain.clang, ["-x", "c++"] + strict + ["-fsyntax-only", include, source])
    }
  }

  /// Every declared function exists: a program takes all their addresses.
  @Test func eachFunctionIsInTheLibrary() throws {
    let functions = try Self.declared()
    try #require(functions.count > 30)
    let source = try Self.write(
      "addresses.c",
      """
      #include <kiln.h>
      typedef void (*function)(void);
      static const function functions[] = {
        \(functions.map { "(function)\($0)," }.joined(separator: "\n  "))
      };
      int main(void) {
        size_t present = 0;
        for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) present += functions[i] != NULL;
        return present == \(functions.count) ? 0 : 1;
      }

      """)
    for compiler in [Toolchain.clang, Toolchain.cc].compactMap({ $0 }) {
      try Toolchain.check(Toolchain.build(source, compiler: compiler).path, [])
    }
  }

  /// The library exports what `exported.txt` lists, which is what the headers declare; nothing less, nothing else.
  @Test func exportedNames() throws {
    let list = Toolchain.package.appendingPathComponent("Tests/ABI/exported.txt")
    let listed = try String(contentsOf: list, encoding: .utf8)
    let names = listed.split(separator: "\n").map(String.init)
    let symbols = try Toolchain.check("nm", ["-D", "--defined-only", Toolchain.library.get().path])
    let exported = symbols.split(separator: "\n").compactMap { $0.split(separator: " ").last.map(String.init) }
    #expect(exported.sorted() == names)
    #expect(try Self.declared() == names)
  }
}
