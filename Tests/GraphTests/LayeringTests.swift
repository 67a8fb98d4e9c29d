import Foundation
import Testing

/// Imports run one way: `include <- CKernels <- Kernels <- Graph <- {Layers, Optimizers} <- Training <- CLI`.
struct LayeringTests {
  private static let allowed: [String: Set<String>] = [
    "Kernels": ["CKernels"],
    "Graph": ["KilnKernels"],
    "Layers": ["KilnKernels", "KilnGraph"],
    "Optimizers": ["KilnKernels", "KilnGraph"],
    "Data": ["KilnKernels"],
    "Checkpoints": ["KilnKernels"],
    "Training": ["KilnKernels", "KilnGraph", "KilnLayers", "KilnOptimizers", "KilnData", "KilnCheckpoints"],
    "Kiln": [
      "KilnKernels", "KilnGraph", "KilnLayers", "KilnOptimizers", "KilnData", "KilnCheckpoints", "KilnTraining",
    ],
    "CLI": ["Kiln"],
  ]

  private static let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Sources")

  private func files(_ module: String) -> [URL] {
    let all = FileManager.default.enumerator(
      at: Self.sources.appendingPathComponent(module), includingPropertiesForKeys: nil)
    return (all?.allObjects as? [URL] ?? []).filter { $0.pathExtension == "swift" }
  }

  @Test func everyModuleIsKnown() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Self.sources.path)
    #expect(Set(folders) == Set(Self.allowed.keys))
  }

  @Test(arguments: allowed.keys.sorted()) func importsRunOneWay(_ module: String) throws {
    let allowed = try #require(Self.allowed[module])
    let found = files(module)
    #expect(!found.isEmpty)
    for file in found {
      for match in try String(contentsOf: file, encoding: .utf8).matches(
        of: /(?m)^(?:@\w+ )?(?:public )?import (Kiln\w*|CKernels)/)
      {
        #expect(allowed.contains(String(match.1)), "\(file.lastPathComponent) imports \(match.1)")
      }
    }
  }

  @Test(arguments: allowed.keys.filter { $0 != "Kernels" }.sorted()) func noUnsafePointersInSignatures(_ module: String)
    throws
  {
    for file in files(module) {
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: /(?m)^.*public .*Unsafe\w*Pointer.*$/) {
        Issue.record("\(module)/\(file.lastPathComponent): \(match.0)")
      }
    }
  }
}
