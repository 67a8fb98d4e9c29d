/// Everything that can go wrong because of the world: files, arguments, data, numbers.
///
/// One line says what is wrong, naming the thing and its value; a second, where there is one, says what to do.
public struct KilnError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of fault it is, for a program that decides by it.
  public enum Kind: String, Sendable {
    case argument, shape, file, format, data, memory, numerics, interrupted, unsupported
  }

  public var kind: Kind
  public var message: String
  public var hint: String?

  public init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
  }

  public var description: String { hint.map { "\(message)\nhint: \($0)" } ?? message }
}
