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
    .executableTarget(
      name: "kiln-bench",
      dependencies: [
        "Ceilings", .product(name: "Kiln", package: "Kiln"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "EndToEnd"),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu2x
)
