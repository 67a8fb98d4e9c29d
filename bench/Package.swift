// swift-tools-version: 6.1
import PackageDescription

// A package of its own, so that what the bench depends on never enters Kiln's.
let package = Package(
  name: "KilnBench",
  dependencies: [
    .package(name: "Kiln", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    .target(name: "Ceilings", path: "Ceilings"),
    .target(name: "Harness", dependencies: ["Ceilings"], path: "Harness"),
    .executableTarget(
      name: "kiln-bench",
      dependencies: [
        "Harness", .product(name: "Kiln", package: "Kiln"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: ".", exclude: ["Ceilings", "Harness", "HarnessTests", "Peers", "Results", "TrainingTests", "README.md"],
      sources: ["Command", "EndToEnd", "Kernels", "Training"]),
    .testTarget(name: "HarnessTests", dependencies: ["Harness"], path: "HarnessTests"),
    .testTarget(
      name: "TrainingTests", dependencies: ["kiln-bench", .product(name: "Kiln", package: "Kiln")],
      path: "TrainingTests"),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu2x
)
