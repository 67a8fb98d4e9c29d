// Every family of cases, in the order in which they run. A new one is added here.

import Foundation
import Harness

enum Catalog {
  static var families: [any Family.Type] {
    [
      GemmFamily.self, GemmNarrowFamily.self, SparseFamily.self, AttentionFamily.self, LossFamily.self, NormFamily.self,
      ActivationFamily.self,
      ElementwiseFamily.self, OptimFamily.self, StepFamily.self, GenerationFamily.self, GrowthFamily.self,
    ]
  }

  static var names: [String] { families.map { $0.name } }

  /// The families of a list such as "gemm,step"; all without one. "ceilings" is none: they are always measured.
  static func select(_ list: String?) throws -> [any Family.Type] {
    guard let list else { return families }
    let wanted = list.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    if let unknown = wanted.first(where: { $0 != "ceilings" && !names.contains($0) }) {
      throw BenchFailure("there is no family '\(unknown)'; known: ceilings, \(names.joined(separator: ", "))")
    }
    return families.filter { wanted.contains($0.name) }
  }
}
