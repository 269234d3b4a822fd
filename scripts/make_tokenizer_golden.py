#!/usr/bin/env python3
"""Golden files for test/text from the Python `tokenizers` package.

    python3 -m venv VENV && VENV/bin/pip install tokenizers==0.23.3
    VENV/bin/python scripts/make_tokenizer_golden.py             golden hashes: test/golden/tokenizer/
    VENV/bin/python scripts/make_tokenizer_golden.py --retrain   also trains the small test tokenizers again

Run the first form again whenever a `models/*/tokenizer.json` changes.

For every tokenizer 10,000 random strings (600 for most variants of the small tokenizers) are made by
`random_string`, which test/text/random_text.h repeats draw by draw. A golden file holds one
little-endian uint32 per string: FNV-1a over the ids (4 bytes each, little-endian), then over the UTF-8
of the decoded text. index.json names them all.
"""
import argparse
import base64
import json
import pathlib
import struct
import sys
import unicodedata

import tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from charsmap import charsmap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
GOLDEN = ROOT / "test" / "golden" / "tokenizer"
MASK = (1 << 64) - 1

# --- the random strings; keep equal to test/text/random_text.h -----------------------------------

WORDS = ("the and wolf Once upon time HELLO World tokenizer Transformer x y kv GPU naive café "
         "über straße Ελλάδα Москва нещо ſtreet KELVIN İstanbul ﬁne ǅungla").split(" ")
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'lL", "'D",
                "\u2019s", "'\u017f", "'", "''", "s'", "'ss"]
SPACES = [" ", " ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e",
          "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005",
          "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f",
          "\u2060", "\u3000", "\ufeff"]
EMOJI = ["\U0001f680", "\U0001f636\u200d\U0001f32b\ufe0f", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
         "\U0001f44d\U0001f3fd", "\u2705", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\U0001f999", "\u2764\ufe0f",
         "\U0001f3f4\U000e0067\U000e0062\U000e007f"]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
BLOCKS = [(0x0900, 0x80), (0x0E00, 0x80), (0xAC00, 0x2BA4), (0xFF01, 0xBE), (0x1E00, 0x100), (0x1100, 0x100),
          (0xF900, 0x200), (0x2070, 0x120), (0x1D400, 0x100), (0x3040, 0xC0)]


class Draws:
    """splitmix64"""

    def __init__(self, seed):
        self.state = seed & MASK

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % n


def random_part(draws, added):
    kind = draws.below(17)
    if kind <= 2:
        return (" " if draws.below(2) else "") + WORDS[draws.below(len(WORDS))]
    if kind == 3:
        return "".join(chr(48 + draws.below(10)) for _ in range(1 + draws.below(8)))
    if kind == 4:
        return "".join(SPACES[draws.below(len(SPACES))] for _ in range(1 + draws.below(6)))
    if kind == 5:
        return CONTRACTIONS[draws.below(len(CONTRACTIONS))]
    if kind == 6:
        return EMOJI[draws.below(len(EMOJI))]
    if kind == 7:
        base = chr(97 + draws.below(26))
        return base + "".join(chr(0x300 + draws.below(0x70)) for _ in range(1 + draws.below(3)))
    if kind == 8:
        return "".join(chr(0x4E00 + draws.below(20992)) for _ in range(1 + draws.below(5)))
    if kind == 9:
        start, size = ((0x5D0, 27), (0x620, 43))[draws.below(2)]
        return "".join(chr(start + draws.below(size)) for _ in range(1 + draws.below(5)))
    if kind == 10:
        c = draws.below(65)
        return chr(c if c < 32 else 127 + c - 32)
    if kind == 11:
        return added[draws.below(len(added))] if added else "<|none|>"
    if kind == 12:
        out = ""
        for _ in range(1 + draws.below(3)):
            c = draws.below(0x110000 - 0x800)
            out += chr(c if c < 0xD800 else c + 0x800)
        return out
    if kind == 13:
        return "".join(PUNCTUATION[draws.below(len(PUNCTUATION))] for _ in range(1 + draws.below(4)))
    if kind == 14:
        return "".join(chr(draws.below(0x3000)) for _ in range(1 + draws.below(3)))
    if kind == 15:
        start, size = BLOCKS[draws.below(len(BLOCKS))]
        return "".join(chr(start + draws.below(size)) for _ in range(1 + draws.below(4)))
    return " " * (1 + draws.below(40))


def random_string(index, added):
    draws = Draws(index * 0x2545F4914F6CDD1D + 12345)
    return "".join(random_part(draws, added) for _ in range(1 + draws.below(9)))


# --- golden hashes -------------------------------------------------------------------------------

def fnv1a(data, state=0x811C9DC5):
    for byte in data:
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    return state


def fnv1a64(data):
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return state


def make_golden(name, text, count):
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    added = [token["content"] for token in json.loads(text)["added_tokens"]]
    out = bytearray()
    for index in range(count):
        ids = tokenizer.encode(random_string(index, added)).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        state = fnv1a(b"".join(struct.pack("<I", i) for i in ids))
        out += struct.pack("<I", fnv1a(decoded.encode(), state))
    (GOLDEN / f"{name}.u32").write_bytes(bytes(out))
    print(f"{name}: {count} strings", file=sys.stderr)
    return added


# --- the small tokenizers and their variants -----------------------------------------------------

TEXT = ["Once upon a time there was a wolf who lived in the wood near the village.",
        "The tokenizer's job isn't hard: it'll split, merge and number the words; we've 1234567 of them!",
        "She said, \"I'm sure that you're right,\" and he'd seen 42 of 2026's 365 days.",
        "for (int i = 0; i < n; ++i) {\n    sum += x[i] * y[i];\n}\n\n\tdone  ",
        "Ελλάδα Москва straße über café naïve 日本語 中文 한국어 🚀 👍",
        "HELLO World, hello world; the end. The king and the queen lived happily ever after."] * 3

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"
          r"\s+(?!\S)|\s")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
            r"\s*[\r\n]+|\s+(?!\S)|\s+"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": [*parts, byte_level()]}


def added_token(number, content, **flags):
    token = dict(id=number, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False,
                 special=True)
    token.update(flags)
    return token


def metaspace(scheme="always", **more):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, **more}


def decoders(*parts):
    return {"type": "Sequence", "decoders": [*parts]}


MARK_TO_SPACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
SPACE_TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
BYTES, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def small_charsmap():
    """NFKC of some blocks, letters with accents written apart, white space, what disappears."""
    keys = [chr(c) for first, last in [(0xA0, 0x17F), (0x2000, 0x214F), (0xFF01, 0xFF5E), (0x1D400, 0x1D433)]
            for c in range(first, last)]
    keys += [b + m for b in "aeioucnAEO" for m in "\u0300\u0301\u0308\u0327"]
    out = {k: unicodedata.normalize("NFKC", k) for k in keys if unicodedata.normalize("NFKC", k) != k}
    out.update({c: " " for c in "\t\n\r\u1680\u200b\u200e\u2028\u2029\u2581\ufeff\ufffd"})
    out.update({chr(c): "" for c in [1, 2, 0xB, 0xE, 0x1F, 0x7F, 0xAD]})
    return base64.b64encode(charsmap(out)).decode()


def sentencepiece_variants(unigram):
    """The forms in which sentencepiece models are converted."""
    out, legacy = {}, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    for scheme in ["always", "first", "never"]:
        out["metaspace-" + scheme] = ("fallback", {
            "normalizer": None, "pre_tokenizer": metaspace(scheme, split=False), "decoder": decoders(
                MARK_TO_SPACE, BYTES, FUSE, *([] if scheme == "never" else [STRIP]))})
        out["metaspace-split-" + scheme] = ("fallback", {
            "normalizer": None, "pre_tokenizer": metaspace(scheme), "decoder": metaspace(scheme)})
    out["metaspace-legacy"] = ("fallback", {"normalizer": None, "pre_tokenizer": legacy, "decoder": legacy})
    out["metaspace-nfkc-first"] = ("fallback", {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": metaspace("first"), "decoder": metaspace("first"),
        "added_tokens": [added_token(0, "<unk>"), added_token(1, "<s>", rstrip=True),
                         added_token(460, "WORLD", normalized=True, special=False)]})
    out["metaspace-pieces-first"] = ("fallback", {
        "normalizer": None, "decoder": decoders(BYTES, metaspace("first")),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True}, metaspace("first")]}})
    out["mark-never-first"] = ("fallback", {
        "normalizer": SPACE_TO_MARK, "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String"),
        "decoder": decoders(MARK_TO_SPACE, BYTES, FUSE)})
    out["fused-steps"] = ("fallback", {"decoder": decoders(
        FUSE, MARK_TO_SPACE, {"type": "Replace", "pattern": {"String": "the"}, "content": "a"},
        {"type": "Replace", "pattern": {"Regex": "o+ ?"}, "content": "0"},
        {"type": "Strip", "content": " ", "start": 2, "stop": 0}, metaspace("never"), BYTES)})
    out["strip-tokens"] = ("fallback", {"decoder": decoders(
        {"type": "Strip", "content": "▁", "start": 1, "stop": 0}, BYTES, FUSE)})
    out["accents"] = ("fallback", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Nmt"}, {"type": "Prepend", "prepend": "▁"}, SPACE_TO_MARK]}})
    out["nmt"] = ("fallback", {"normalizer": {"type": "Nmt"}, "pre_tokenizer": metaspace(), "decoder": metaspace()})
    out["byte-level-normalizer"] = ("small", {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None})
    out["unigram"] = ("unigram", {})
    out["unigram-unsplit"] = ("unigram", {"pre_tokenizer": metaspace("always", split=False)})
    out["unigram-raw"] = ("unigram", {"normalizer": None, "pre_tokenizer": None})
    out["unigram-words"] = ("unigram", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, metaspace()]}})
    letters = [p for p in unigram["model"]["vocab"]]
    out["unigram-fallback"] = ("unigram", {
        "model": {"byte_fallback": True, "vocab": letters + [[f"<0x{b:02X}>", 0.0] for b in range(256)]},
        "decoder": decoders(MARK_TO_SPACE, BYTES, FUSE, STRIP)})
    out["unigram-some-bytes"] = ("unigram", {
        "model": {"byte_fallback": True, "vocab": letters + [[f"<0x{b:02X}>", -3.5] for b in range(0x80, 0xE4)]},
        "normalizer": {"type": "NFC"}, "decoder": decoders(BYTES, metaspace())})
    return out


# Checked on 10,000 strings: one of each kind in which public models come.
MAIN = ["fallback", "metaspace-first", "metaspace-split-always", "mark-never-first", "unigram", "unigram-fallback"]


def variants(small, unigram):
    """name -> (base, keys that replace the base's)."""
    out = {"small": ("small", {})}
    for name, pattern in [("llama3", LLAMA3), ("o200k", O200K), ("cl100k", CL100K), ("bloom", BLOOM),
                          ("word", r"\w+|[^\w\s]+|\b"), ("anchors", r"^.|\d$|(?m:x.)|[\w\-]+-?|\h\h"),
                          ("scripts", r"\p{Han}+|\P{Lu}\p{^Nd}|[^\p{Greek}\p{Cyrillic}a-f\-\s]{2,}?")]:
        out[name] = ("small", {"pre_tokenizer": sequence(split(pattern))})
    out["qwen2"] = ("small", {"normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(split(QWEN2))})
    out["deepseek"] = ("small", {"pre_tokenizer": sequence(*[split(p) for p in DEEPSEEK])})
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        out[f"split-{behavior}"] = ("small", {"pre_tokenizer": sequence(split(r"[a-m]|\s", behavior))})
        out[f"invert-{behavior}"] = ("small", {"pre_tokenizer": sequence(split("[a-m]+| ", behavior, True))})
        out[f"punctuation-{behavior}"] = ("small", {"pre_tokenizer": sequence(
            {"type": "Punctuation", "behavior": behavior}, split("e.", behavior, kind="String"))})
    for single in [True, False]:
        out[f"digits-{single}"] = ("small", {"pre_tokenizer": sequence(
            {"type": "Digits", "individual_digits": single}, byte_level(True, True))})
    out["whitespace"] = ("small", {"pre_tokenizer": sequence({"type": "Whitespace"})})
    out["whitespace-split"] = ("small", {"pre_tokenizer": sequence({"type": "WhitespaceSplit"})})
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        out[form] = ("small", {"normalizer": {"type": form}})
    out["normalizers"] = ("small", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Replace", "pattern": {"String": "wolf"}, "content": "fox"},
        {"type": "Prepend", "prepend": "_"}]}})
    top = len(small["model"]["vocab"])
    out["added"] = ("small", {"normalizer": {"type": "Lowercase"}, "added_tokens": [
        added_token(0, "<|end|>"), added_token(top, "<|L|>", lstrip=True), added_token(top + 1, "<|R|>", rstrip=True),
        added_token(top + 2, "<|LR|>", lstrip=True, rstrip=True, special=False),
        added_token(top + 3, "and", single_word=True, special=False),
        added_token(top + 4, "World", normalized=True, special=False),
        added_token(top + 5, "    ", normalized=True, special=False),
        added_token(top + 6, "<|", special=False), added_token(top + 7, "Ελ", lstrip=True, single_word=True)]})
    bos, eos = {"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"SpecialToken": {"id": "eos", "type_id": 0}}
    out["template"] = ("small", {"post_processor": {"type": "Sequence", "processors": [byte_level(), {
        "type": "TemplateProcessing", "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}, eos],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]},
                           "eos": {"id": "eos", "ids": [5, 6], "tokens": ["a", "b"]}}}]}})
    out["no-decoder"] = ("small", {"decoder": None})
    out["ignore-merges"] = ("small", {"model": {"ignore_merges": True}})
    out["unk"] = ("small", {"model": {"unk_token": "<|end|>", "fuse_unk": False},
                            "pre_tokenizer": {"type": "WhitespaceSplit"}})
    out["fuse-unk"] = ("small", {"model": {"unk_token": "<|end|>", "fuse_unk": True}, "pre_tokenizer": None})
    out.update(sentencepiece_variants(unigram))
    out["fallback"] = ("fallback", {})
    out["fallback-unk"] = ("fallback", {"model": {"byte_fallback": False, "unk_token": "<unk>", "fuse_unk": True}})
    return out


def apply_variant(base, patch):
    out = json.loads(json.dumps(base))
    for key, value in patch.items():
        if key == "model":
            out["model"].update(value)
        else:
            out[key] = value
    return out


def train_small():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=460, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    (GOLDEN / "small.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=0))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = tokenizers.decoders.Sequence([
        tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse(),
        tokenizers.decoders.Strip(" ", 1, 0)])
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=460, special_tokens=["<unk>", "<s>"] + [f"<0x{b:02X}>" for b in range(256)], show_progress=False))
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = [t for t in made["added_tokens"] if not t["content"].startswith("<0x")]
    made["model"]["merges"] = [" ".join(m) for m in made["model"]["merges"]]  # the older form
    (GOLDEN / "fallback.json").write_text(json.dumps(made, ensure_ascii=False, indent=0))


def train_unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(base64.b64decode(small_charsmap())),
        normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.train_from_iterator(TEXT, trainers.UnigramTrainer(
        vocab_size=220, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False))
    (GOLDEN / "unigram.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=0))


def make_all(retrain):
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if retrain or not (GOLDEN / "small.json").exists():
        train_small()
    if retrain or not (GOLDEN / "unigram.json").exists():
        train_unigram()
    bases = {name: json.loads((GOLDEN / f"{name}.json").read_text()) for name in ("small", "fallback", "unigram")}
    index = {"made_by": f"tokenizers {tokenizers.__version__}", "files": [], "variants": []}
    for name, (base, patch) in variants(bases["small"], bases["unigram"]).items():
        added = make_golden("variant-" + name, json.dumps(apply_variant(bases[base], patch)),
                            10000 if name in MAIN else 600)
        index["variants"].append({"name": name, "base": base, "patch": patch, "added": added})
    files = [("shared", p, SHARED) for p in sorted(SHARED.glob("tokenizers/*/tokenizer.json"))]
    files += [("source", p, ROOT) for p in sorted(ROOT.glob("models/*/tokenizer.json"))]
    for where, path, top in files:
        added = make_golden(path.parent.name, path.read_text(), 10000)
        index["files"].append({"name": path.parent.name, "where": where, "path": str(path.relative_to(top)),
                               "fnv1a64": f"{fnv1a64(path.read_bytes()):016x}", "added": added})
    (GOLDEN / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrain", action="store_true")
    make_all(parser.parse_args().retrain)
