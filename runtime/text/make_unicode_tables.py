#!/usr/bin/env python3
"""Makes unicode_tables.h and unicode_marks.h, beside this script.

    python3 -m venv VENV && VENV/bin/pip install tokenizers==0.23.3
    VENV/bin/python runtime/text/make_unicode_tables.py            (4 minutes)
    VENV/bin/python runtime/text/make_unicode_tables.py --marks    only unicode_marks.h

Asks the Python package `tokenizers`, code point by code point, where its Unicode differs from that of PCRE2
and utf8proc on this machine (Debian 12: PCRE2 10.42 with Unicode 14, utf8proc 2.8 with Unicode 15).
"""
import ctypes
import pathlib
import sys

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

from charsmap import charsmap  # noqa: E402

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
SCRIPTS = ("Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Hangul Han Hebrew Hiragana "
           "Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar Tamil Telugu Thai Tibetan").split()


def scalars():
    return (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def onig_members(pattern):
    """Code points that the package's regular expressions match."""
    split_ = pre_tokenizers.Split(Regex(pattern), "removed")
    out = set()
    for base in range(0, 0x110000, 0x800):
        if base == 0xD800:
            continue
        kept = set()
        for _, (a, b) in split_.pre_tokenize_str("".join(map(chr, range(base, base + 0x800)))):
            kept.update(range(base + a, base + b))
        out.update(c for c in range(base, base + 0x800) if c not in kept)
    return out


def pcre_members(pattern):
    lib = ctypes.CDLL("libpcre2-8.so.0")
    lib.pcre2_compile_8.restype = lib.pcre2_match_data_create_8.restype = ctypes.c_void_p
    text, error, offset = pattern.encode(), ctypes.c_int(), ctypes.c_size_t()
    code = ctypes.c_void_p(lib.pcre2_compile_8(text, ctypes.c_size_t(len(text)), ctypes.c_uint32(0x000A0000),
                                               ctypes.byref(error), ctypes.byref(offset), None))
    assert code, (pattern, error.value)
    data = ctypes.c_void_p(lib.pcre2_match_data_create_8(ctypes.c_uint32(2), None))
    out = set()
    for c in scalars():
        s = chr(c).encode()
        if lib.pcre2_match_8(code, s, ctypes.c_size_t(len(s)), ctypes.c_size_t(0), ctypes.c_uint32(0), data, None) > 0:
            out.add(c)
    return out


def ranges(members):
    out = []
    for c in sorted(members):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def class_body(members):
    return "".join(rf"\x{{{a:x}}}" + (rf"-\x{{{b:x}}}" if b > a else "") for a, b in ranges(members))


def normalization_differences():
    lib = ctypes.CDLL("libutf8proc.so.2")
    lib.utf8proc_map.restype = ctypes.c_ssize_t
    libc = ctypes.CDLL(None)

    def ours(text, options):
        raw, out = text.encode(), ctypes.c_void_p()
        size = lib.utf8proc_map(raw, ctypes.c_ssize_t(len(raw)), ctypes.byref(out), ctypes.c_int(options))
        result = ctypes.string_at(out, size).decode()
        libc.free(out)
        return result

    forms = [(normalizers.NFC(), 2 | 8), (normalizers.NFD(), 2 | 16), (normalizers.NFKC(), 2 | 4 | 8),
             (normalizers.NFKD(), 2 | 4 | 16)]
    out = set()
    for c in scalars():
        for text in [chr(c), "a" + chr(c) + "\u0334", "a\u0345" + chr(c)]:
            if any(form.normalize_str(text) != ours(text, options) for form, options in forms):
                out.add(c)
        # What composes to a character that the package does not know must stay apart, too.
        if c in out and len(ours(chr(c), 2 | 16)) > 1 and forms[1][0].normalize_str(chr(c)) == chr(c):
            out.update(map(ord, ours(chr(c), 2 | 16)))
    return out


def lower_differences():
    lib = ctypes.CDLL("libutf8proc.so.2")
    form = normalizers.Lowercase()
    out = []  # [first, last, to, then]
    for c in scalars():
        theirs = [ord(x) for x in form.normalize_str(chr(c))]
        if theirs == [lib.utf8proc_tolower(c)]:
            continue
        then = theirs[1] if len(theirs) > 1 else 0
        if out and out[-1][1] == c - 1 and then == out[-1][3] == 0 and theirs[0] - c == out[-1][2] - out[-1][0]:
            out[-1][1] = c
        else:
            out.append([c, c, theirs[0], then])
    return out


def rust_members(pre_tokenizer):
    """Code points that are alone after an 'a' (the pre-tokeniser isolates them)."""
    return {c for c in scalars() if len(pre_tokenizer.pre_tokenize_str("a" + chr(c))) == 2}


def make_unicode_tables():
    rows, removed = [], {}

    def row(name, base, theirs):
        ours = pcre_members(f"[{base}]") if base else set()
        if ours - theirs:
            removed[name] = class_body(ours - theirs)
        rows.append((name, base, class_body(theirs - ours)))

    for name in CATEGORIES:
        row(name, rf"\p{{{name}}}", onig_members(rf"\p{{{name}}}"))
    for name in SCRIPTS:
        row(name, rf"\p{{sc:{name}}}", onig_members(rf"\p{{{name}}}"))
    row("onig:word", r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}", onig_members(r"\w"))
    whitespace, space = pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit()
    row("rust:word", r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_C}",
        {c for c in scalars() if [x for x, _ in whitespace.pre_tokenize_str("a" + chr(c))] == ["a" + chr(c)]})
    row("rust:numeric", r"\p{N}", rust_members(pre_tokenizers.Digits(individual_digits=True)))
    row("rust:punctuation", "", rust_members(pre_tokenizers.Punctuation()))
    assert not rust_members(space) and class_body(
        {c for c in scalars() if not space.pre_tokenize_str(chr(c))}).startswith(r"\x{9}-\x{d}\x{20}\x{85}")
    print("not expressible, ours has more:", removed, file=sys.stderr)

    def literal(text, indent):
        pieces = text.replace(r"\x{", "\n\\x{").replace("-\n", "-").split("\n")
        lines, line = [], ""
        for piece in pieces:
            if len(line) + len(piece) > 84:
                lines.append(line)
                line = ""
            line += piece
        lines.append(line)
        return ("\n" + " " * indent).join(f'R"({line})"' for line in lines)

    out = ["// Made by runtime/text/make_unicode_tables.py; do not edit.",
           f"// Where the Unicode of HuggingFace tokenizers {tokenizers.__version__} (Oniguruma and Rust) differs from",
           "// that of PCRE2 10.42 and utf8proc 2.8.", "// clang-format off", "#pragma once", "", "#include <string_view>", "",
           "namespace pocket {", "", "// A named set of characters as the body of a PCRE2 bracket: base, then what PCRE2",
           "// does not count in.", "struct CharacterSet {", "  std::string_view name;", "  std::string_view base;",
           "  std::string_view additions;", "};", "", "inline constexpr CharacterSet kCharacterSets[] = {"]
    for name, base, additions in rows:
        out.append(f'    {{"{name}", R"({base})",\n     {literal(additions, 5)}}},')
    out += ["};", "", "struct CodePointRange {", "  char32_t first, last;", "};", "",
            "// Not known to the package's normaliser.", "inline constexpr CodePointRange kNormalizationBarriers[] = {"]
    line = "   "
    for a, b in ranges(normalization_differences()):
        item = f" {{0x{a:X}, 0x{b:X}}},"
        if len(line) + len(item) > 96:
            out.append(line)
            line = "   "
        line += item
    out += [line, "};", "", "// Lower case of first..last is to + (c - first), followed by `then` unless 0.",
            "struct LowerException {", "  char32_t first, last, to, then;", "};", "",
            "inline constexpr LowerException kLowerExceptions[] = {"]
    out += [f"    {{0x{a:X}, 0x{b:X}, 0x{to:X}, 0x{then:X}}}," for a, b, to, then in lower_differences()]
    out += ["};", "", "}  // namespace pocket", ""]
    (HERE / "unicode_tables.h").write_text("\n".join(out))


def late_extends():
    """Code points that the package joins to the character before and utf8proc does not. A map of '!' replaces the
    whole grapheme that begins with it, so the grapheme's end can be seen."""
    lib = ctypes.CDLL("libutf8proc.so.2")
    lib.utf8proc_grapheme_break.restype = ctypes.c_bool
    package = normalizers.Precompiled(charsmap({"!": "x"}))
    joined = {c for c in scalars() if c not in (0, 0x21) and package.normalize_str("!" + chr(c)) == "x"}
    ours = {c for c in scalars() if not lib.utf8proc_grapheme_break(0x21, c)}
    assert not ours - joined - {0}, ours - joined
    return joined - ours


def make_unicode_marks():
    accents = normalizers.StripAccents()
    out = ["// Made by runtime/text/make_unicode_tables.py --marks; do not edit.",
           f"// Marks as HuggingFace tokenizers {tokenizers.__version__} knows them.",
           "// clang-format off", "#pragma once", "", '#include "runtime/text/unicode_tables.h"', "", "namespace pocket {"]
    for name, what, members in [
            ("kAccents", "What StripAccents removes.", {c for c in scalars() if accents.normalize_str(chr(c)) == ""}),
            ("kLateExtends", "Joins the character before it, which utf8proc 2.8 does not know.", late_extends())]:
        out += ["", f"// {what}", f"inline constexpr CodePointRange {name}[] = {{"]
        line = "   "
        for a, b in ranges(members):
            item = f" {{0x{a:X}, 0x{b:X}}},"
            if len(line) + len(item) > 96:
                out.append(line)
                line = "   "
            line += item
        out += [line, "};"]
    out += ["", "}  // namespace pocket", ""]
    (HERE / "unicode_marks.h").write_text("\n".join(out))


if __name__ == "__main__":
    if sys.argv[1:] != ["--marks"]:
        make_unicode_tables()
    make_unicode_marks()
