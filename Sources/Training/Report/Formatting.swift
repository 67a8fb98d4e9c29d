// Numbers for people: 1.2k tokens/s, 1.3 GiB, 2m 05s. What is not a number is shown as a dash.

import Foundation

/// A count of anything: `950`, `1.2k`, `12.4M`, `124M`, `1.2B`.
public func formatCount(_ count: Int) -> String { scaled(Double(count), by: 1000, ["", "k", "M", "B", "T"]) }

/// Tokens per second: `1.2k tokens/s`.
public func formatRate(_ tokensPerSecond: Double) -> String {
  scaled(tokensPerSecond, by: 1000, ["", "k", "M", "B"]) + " tokens/s"
}

/// Bytes in binary units: `512 B`, `1.3 GiB`.
public func formatBytes(_ bytes: Int) -> String {
  scaled(Double(bytes), by: 1024, [" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Seconds in the two largest units that fit: `0.8s`, `42s`, `2m 05s`, `1h 02m`, `3d 04h`.
public func formatDuration(_ seconds: Double) -> String {
  guard seconds >= 0, let whole = Int(exactly: seconds.rounded()) else { return "–" }
  func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
  if seconds < 9.95 { return fixed(seconds, decimals: 1) + "s" }
  if whole < 60 { return "\(whole)s" }
  if whole < 3600 { return "\(whole / 60)m \(twoDigits(whole % 60))s" }
  if whole < 86400 { return "\(whole / 3600)h \(twoDigits(whole % 3600 / 60))m" }
  return "\(whole / 86400)d \(twoDigits(whole % 86400 / 3600))h"
}

/// A number to four significant digits, plain near 1 and with an exponent far from it: `1.482`, `3e-4`, `1.2e7`.
func formatReal(_ value: Double) -> String {
  guard value.isFinite else { return "–" }
  let magnitude = abs(value)
  guard magnitude > 0 else { return "0" }
  let exponent = Int(log10(magnitude).rounded(.down))
  return (-3...4).contains(exponent) ? fixed(value, decimals: max(0, 3 - exponent)) : scientific(value)
}

/// With an exponent: `3e-4`.
func scientific(_ value: Double) -> String {
  let parts = String(format: "%.3e", value).split(separator: "e")
  guard parts.count == 2, let mantissa = Double(parts[0]), let power = Int(parts[1]) else { return "\(value)" }
  return "\(fixed(mantissa, decimals: 3))e\(power)"
}

/// At most `decimals` decimals, without zeros at the end.
func fixed(_ value: Double, decimals: Int) -> String {
  let text = String(format: "%.\(decimals)f", value)
  guard text.contains(".") else { return text }
  let end = text.lastIndex { $0 != "0" } ?? text.startIndex
  return String(text[...end].hasSuffix(".") ? text[..<end] : text[...end])
}

/// The value in the largest unit that leaves at least 1, with one decimal below 100.
private func scaled(_ value: Double, by base: Double, _ units: [String]) -> String {
  guard value.isFinite else { return "–" }
  var rest = value
  var unit = 0
  // What would round up to a full unit belongs to the next.
  while abs(rest) >= base - 0.5 && unit + 1 < units.count {
    rest /= base
    unit += 1
  }
  return fixed(rest, decimals: abs(rest) < 99.95 ? 1 : 0) + units[unit]
}
