// A trained vocabulary as a tokenizer.json of the GPT-2 type.

import Foundation

/// The 256 bytes, then one token a merge, then `<|endoftext|>`.
struct TrainedVocabulary {
  var merges: [(left: Int32, right: Int32)]

  func json() -> Data {
    var tokens = ByteAlphabet.scalars.map { String($0) }
    for merge in merges { tokens.append(tokens[Int(merge.left)] + tokens[Int(merge.right)]) }
    let pairs = merges.map { quoted(tokens[Int($0.left)] + " " + tokens[Int($0.right)]) }
    tokens.append("<|endoftext|>")
    let vocabulary = tokens.enumerated().map { "\(quoted($1)): \($0)" }
    let byteLevel = #"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}"#
    let text = """
      {
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
          {"id": \(tokens.count - 1), "content": "<|endoftext|>", "single_word": false, \
      "lstrip": false, "rstrip": false, "normalized": false, "special": true}
        ],
        "normalizer": null,
        "pre_tokenizer": \(byteLevel),
        "post_processor": null,
        "decoder": \(byteLevel),
        "model": {
          "type": "BPE",
          "dropout": null,
          "unk_token": null,
          "continuing_subword_prefix": null,
          "end_of_word_suffix": null,
          "fuse_unk": false,
          "byte_fallback": false,
          "ignore_merges": false,
          "vocab": {
            \(lines(vocabulary))
          },
          "merges": [
            \(lines(pairs))
          ]
        }
      }

      """
    return Data(text.utf8)
  }

  private func lines(_ items: [String]) -> String { items.joined(separator: ",\n      ") }

  /// The byte alphabet has no control characters: only quote and backslash need care.
  private func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }
}
