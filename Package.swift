// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "Kiln",
  products: [
    .library(name: "Kiln", targets: ["Kiln"]),
    .library(name: "CKernels", targets: ["CKernels"]),
    .executable(name: "kiln", targets: ["KilnCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    .target(
      name: "CKernels", path: ".", exclude: ["CKernels/opencl/kernels"], sources: ["CKernels"],
      publicHeadersPath: "include",
      cSettings: [.headerSearchPath("CKernels"), .define("KILN_OPENMP", .when(platforms: [.linux]))],
      linkerSettings: [.linkedLibrary("omp5", .when(platforms: [.linux])), .linkedLibrary("m")]),
    .target(name: "KilnKernels", dependencies: ["CKernels"], path: "Sources/Kernels"),
    .target(name: "KilnGraph", dependencies: ["KilnKernels"], path: "Sources/Graph"),
    .target(name: "KilnLayers", dependencies: ["KilnGraph"], path: "Sources/Layers"),
    .target(name: "KilnOptimizers", dependencies: ["KilnGraph"], path: "Sources/Optimizers"),
    .target(
      name: "KilnData",
      dependencies: ["KilnKernels", .product(name: "HeapModule", package: "swift-collections")],
      path: "Sources/Data"),
    .target(
      name: "KilnCheckpoints",
      dependencies: ["KilnKernels", .product(name: "OrderedCollections", package: "swift-collections")],
      path: "Sources/Checkpoints"),
    .target(
      name: "KilnTraining",
      dependencies: ["KilnGraph", "KilnLayers", "KilnOptimizers", "KilnData", "KilnCheckpoints"],
      path: "Sources/Training"),
    .target(name: "Kiln", dependencies: ["KilnTraining"], path: "Sources/Kiln"),
    .executableTarget(
      name: "KilnCLI",
      dependencies: [
        "Kiln", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Yams", package: "Yams"),
      ],
      path: "Sources/CLI"),
    .target(name: "KilnTestSupport", dependencies: ["KilnGraph", "CKernels"], path: "Tests/Support"),
    .testTarget(
      name: "KernelsTests",
      dependencies: ["KilnTestSupport", "KilnKernels", .product(name: "RealModule", package: "swift-numerics")]),
    .testTarget(name: "GraphTests", dependencies: ["KilnTestSupport", "KilnGraph"]),
    .testTarget(name: "LayersTests", dependencies: ["KilnTestSupport", "KilnLayers"]),
    .testTarget(name: "DataTests", dependencies: ["KilnTestSupport", "KilnData"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["KilnTestSupport", "KilnCheckpoints"]),
    .testTarget(name: "TrainingTests", dependencies: ["KilnTestSupport", "KilnTraining"]),
    .testTarget(name: "CLITests", dependencies: ["KilnTestSupport", "KilnCLI"]),
    .testTarget(
      name: "ABITests", dependencies: ["KilnTestSupport", "CKernels"], path: "Tests/ABI", exclude: ["exported.txt"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu2x
)
