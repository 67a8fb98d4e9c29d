"""Trains three small byte-level BPE tokenizers with Hugging Face's `tokenizers` and dumps what they make of a nasty corpus.

Writes next to itself:
  gpt2.json    GPT-2 type: ByteLevel with its regex, merges as "a b" strings
  llama3.json  Llama-3 type: Split by its regex, then ByteLevel; ignore_merges, merges as pairs, special tokens
  smollm.json  Digits one by one, then ByteLevel with a prefix space; bytes missing from the vocabulary; added tokens
               with every flag
  corpus.json  {"texts": [base64 of bytes], "ids": {tokenizer: [[ids of the text repaired to UTF-8]]},
                "decoded": {tokenizer: [base64 of the decoded ids]}}

Run: python make_tokenizer_golden.py    (made with tokenizers 0.23.3)
"""
import base64
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def training_text():
    """Some 80 kB that a fixed seed makes from a few words of several languages."""
    chance = random.Random(1)
    subjects = ["the river", "a carpenter", "my sister's dog", "Dr. Wells", "the old engine", "it", "they", "we"]
    verbs = ["isn't counting", "carried", "didn't see", "will find", "we've painted", "remembers", "I'll weigh"]
    objects = ["the harbour lights", "12 grey stones", "a letter from 1987", "naïve cafés", "three-quarters of it",
               "größere Häuser", "東京の川", "привет мир", "x_1 = f(x_0);", "🙂 and 👩‍👩‍👧", "    indented\tcode"]
    ends = [".\n", "!\n", "?\r\n", "; ", ", and ", "...\n\n", " — "]
    return ["".join(f"{chance.choice(subjects)} {chance.choice(verbs)} {chance.choice(objects)}{chance.choice(ends)}"
                    for _ in range(12)) for _ in range(110)]


def train(pre_tokenizer, size, special, alphabet, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [])
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def gpt2():
    tokenizer = train(pre_tokenizers.ByteLevel(add_prefix_space=False), 700, ["<|endoftext|>"], True)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def llama3():
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    tokenizer = train(pre_tokenizers.Sequence([split, byte_level]), 800, special, True, ignore_merges=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])
    return tokenizer


def smollm():
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer = train(pre_tokenizers.Sequence([digits, byte_level]), 400, ["<|endoftext|>"], False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<mask>er"),
                                  AddedToken("[R]", rstrip=True), AddedToken("[B]", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("river", single_word=True), AddedToken("    "), AddedToken("ver")])
    return tokenizer


def with_string_merges(path):
    content = json.loads(path.read_text())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")))


PLAIN = [
    "", " ", "  ", "\n", "a", "Hello my friend, how is your day going?", "Hello there       dear",
    "Hello there\nHello there", "the river isn't counting 12 grey stones.", "I'll we've they're DON'T Don'T 'S 's ''s ' s",
    "it'ſ IT'ſ 'ſt 'LL 'Ll 'rE 'VE 'M 'D 'T", "x'y 'hello 'tis", "\t\tif (x) {\r\n\t\treturn 1;\r\n}\r\n\r\n",
    "a  b   c    d", "trailing   ", "   leading", "\u00a0\u00a0a\u00a0b", "a\u3000b\u2003\u2003c", "a \t\n \r\n b", "\n\n\n", " \n x",
    "1 12 123 1234 12345 3.14159 1,000,000", "٣٤٥ ⅷ ½ ² ① 一二三", "price: $5.00!!! (really?)\n\n", "...\n...\r\n\r\n...",
    "日本語のテキスト、漢字とカナ。", "中文字符，没有空格。", "한국어 텍스트", "привет мир", "שלום עולם", "हिन्दी पाठ", "ไทย",
    "e\u0301 e\u0301\u0302 \u0301 a\u0301b", "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🙂🙂", "\u200d\u200b\ufeff\u2060", "\x00\x01\x7f\x1f", "\x85\x0b\x0c\x1c",
    "<|endoftext|>", "a<|endoftext|>b", "<|endoftext|><|endoftext|>", " <|endoftext|> \n", "<|endoftext|", "<|ENDOFTEXT|>",
    "<|begin_of_text|>Hi<|eot_id|>\n\n<|end_of_text|>", "a <mask> b", "a   <mask>er  <mask>", "x [R]  y [B]  z", "[B][R] [B] [R]",
    "river rivers <river> driver river", "ver over", "a    b     c", "x      <mask>    <mask>", "[R]    q", "Ġ Ċ ĠĠ é ÿ",
    "𝒳𝟙𝟚 𐍈 \U0010ffff", "a" * 300, " " * 70 + "x", "ab" * 100 + "!?" * 50, "\u0345\u0660\u06f0\u0e50", "ǅ ʰ ª º ß ẞ İ ı",
]
DAMAGED = [
    b"\xff", b"a\x80b", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x", b"\xe2\x28\xa1", b"\xf0\x9f\x99", b"\xf0\x9f\x99 \xf0\x9f",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xf8\x88\x80\x80\x80", b"ok \xe2\x82\xac \xe2\x82", b"\xf0\x80\x80\x80",
]


def nasty_texts():
    chance = random.Random(2)
    atoms = [" ", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "'s", "'LL", "'", "a", "the", "River", "river", "é", "e\u0301", "漢", "字",
             "я", "🙂", "\u200d", "1", "23", "٣", "½", ".", "!?", "<|endoftext|>", "<|eot_id|>", "<mask>", "[R]", "[B]", "    ", "_", "-"]
    mixed = ["".join(chance.choice(atoms) for _ in range(chance.randrange(2, 24))) for _ in range(160)]
    noise = [bytes(chance.choice([0x20, 0x41, 0x80, 0xBF, 0xC3, 0xE2, 0x82, 0xED, 0xF0, 0x9F, 0x99, 0xF4, 0xFF]) for _ in range(12))
             for _ in range(40)]
    return [text.encode() for text in PLAIN + mixed] + DAMAGED + noise


def main():
    texts = nasty_texts()
    encode64 = lambda data: base64.b64encode(data).decode()
    dump = {"texts": [encode64(text) for text in texts], "ids": {}, "decoded": {}}
    for build in [gpt2, llama3, smollm]:
        path = HERE / f"{build.__name__}.json"
        build().save(str(path), pretty=False)
        if build is gpt2:
            with_string_merges(path)
        tokenizer = Tokenizer.from_file(str(path))
        ids = [tokenizer.encode(text.decode("utf-8", "replace"), add_special_tokens=False).ids for text in texts]
        decoded = [tokenizer.decode(row, skip_special_tokens=False).encode() for row in ids]
        dump["ids"][build.__name__] = ids
        dump["decoded"][build.__name__] = [encode64(text) for text in decoded]
    (HERE / "corpus.json").write_text(json.dumps(dump, separators=(",", ":")))


if __name__ == "__main__":
    main()
