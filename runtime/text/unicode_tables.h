// Made by runtime/text/make_unicode_tables.py; do not edit.
// Where the Unicode of HuggingFace tokenizers 0.23.3 (Oniguruma and Rust) differs from
// that of PCRE2 10.42 and utf8proc 2.8.
// clang-format off
#pragma once

#include <string_view>

namespace pocket {

// A named set of characters as the body of a PCRE2 bracket: base, then what PCRE2
// does not count in.
struct CharacterSet {
  std::string_view name;
  std::string_view base;
  std::string_view additions;
};

inline constexpr CharacterSet kCharacterSets[] = {
    {"Lu", R"(\p{Lu})",
     R"(\x{1c89}\x{a7cb}-\x{a7cc}\x{a7da}\x{a7dc}\x{10d50}-\x{10d65})"},
    {"Ll", R"(\p{Ll})",
     R"(\x{1c8a}\x{a7cd}\x{a7db}\x{10d70}-\x{10d85}\x{1df25}-\x{1df2a})"},
    {"Lt", R"(\p{Lt})",
     R"()"},
    {"Lm", R"(\p{Lm})",
     R"(\x{10d4e}\x{10d6f}\x{16d40}-\x{16d42}\x{16d6b}-\x{16d6c}\x{1e030}-\x{1e06d}\x{1e4eb})"},
    {"Lo", R"(\p{Lo})",
     R"(\x{105c0}-\x{105f3}\x{10d4a}-\x{10d4d}\x{10d4f}\x{10ec2}-\x{10ec4})"
     R"(\x{1123f}-\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7})"
     R"(\x{113d1}\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33})"
     R"(\x{1342f}\x{13441}-\x{13446}\x{13460}-\x{143fa}\x{16100}-\x{1611d})"
     R"(\x{16d43}-\x{16d6a}\x{18cff}\x{1b132}\x{1b155}\x{1e4d0}-\x{1e4ea}\x{1e5d0}-\x{1e5ed})"
     R"(\x{1e5f0}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})"},
    {"Mn", R"(\p{Mn})",
     R"(\x{897}\x{ece}\x{10d69}-\x{10d6d}\x{10efc}-\x{10eff}\x{11241}\x{113bb}-\x{113c0})"
     R"(\x{113ce}\x{113d0}\x{113d2}\x{113e1}-\x{113e2}\x{11f00}-\x{11f01}\x{11f36}-\x{11f3a})"
     R"(\x{11f40}\x{11f42}\x{11f5a}\x{13440}\x{13447}-\x{13455}\x{1611e}-\x{16129})"
     R"(\x{1612d}-\x{1612f}\x{1e08f}\x{1e4ec}-\x{1e4ef}\x{1e5ee}-\x{1e5ef})"},
    {"Mc", R"(\p{Mc})",
     R"(\x{cf3}\x{113b8}-\x{113ba}\x{113c2}\x{113c5}\x{113c7}-\x{113ca}\x{113cc}-\x{113cd})"
     R"(\x{113cf}\x{1171e}\x{11f03}\x{11f34}-\x{11f35}\x{11f3e}-\x{11f3f}\x{11f41})"
     R"(\x{1612a}-\x{1612c})"},
    {"Me", R"(\p{Me})",
     R"()"},
    {"Nd", R"(\p{Nd})",
     R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59})"
     R"(\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1e4f0}-\x{1e4f9})"
     R"(\x{1e5f1}-\x{1e5fa})"},
    {"Nl", R"(\p{Nl})",
     R"()"},
    {"No", R"(\p{No})",
     R"(\x{1d2c0}-\x{1d2d3})"},
    {"Pc", R"(\p{Pc})",
     R"()"},
    {"Pd", R"(\p{Pd})",
     R"(\x{10d6e})"},
    {"Ps", R"(\p{Ps})",
     R"()"},
    {"Pe", R"(\p{Pe})",
     R"()"},
    {"Pi", R"(\p{Pi})",
     R"()"},
    {"Pf", R"(\p{Pf})",
     R"()"},
    {"Po", R"(\p{Po})",
     R"(\x{1b4e}-\x{1b4f}\x{1b7f}\x{113d4}-\x{113d5}\x{113d7}-\x{113d8}\x{11b00}-\x{11b09})"
     R"(\x{11be1}\x{11f43}-\x{11f4f}\x{16d6d}-\x{16d6f}\x{1e5ff})"},
    {"Sm", R"(\p{Sm})",
     R"(\x{10d8e}-\x{10d8f})"},
    {"Sc", R"(\p{Sc})",
     R"()"},
    {"Sk", R"(\p{Sk})",
     R"()"},
    {"So", R"(\p{So})",
     R"(\x{2427}-\x{2429}\x{2ffc}-\x{2fff}\x{31e4}-\x{31e5}\x{31ef}\x{1cc00}-\x{1ccef})"
     R"(\x{1cd00}-\x{1ceb3}\x{1f6dc}\x{1f774}-\x{1f776}\x{1f77b}-\x{1f77f}\x{1f7d9})"
     R"(\x{1f8b2}-\x{1f8bb}\x{1f8c0}-\x{1f8c1}\x{1fa75}-\x{1fa77}\x{1fa87}-\x{1fa89})"
     R"(\x{1fa8f}\x{1faad}-\x{1faaf}\x{1fabb}-\x{1fabf}\x{1fac6}\x{1face}-\x{1facf})"
     R"(\x{1fada}-\x{1fadc}\x{1fadf}\x{1fae8}-\x{1fae9}\x{1faf7}-\x{1faf8})"
     R"(\x{1fbcb}-\x{1fbef})"},
    {"Zs", R"(\p{Zs})",
     R"()"},
    {"Zl", R"(\p{Zl})",
     R"()"},
    {"Zp", R"(\p{Zp})",
     R"()"},
    {"Cc", R"(\p{Cc})",
     R"()"},
    {"Cf", R"(\p{Cf})",
     R"(\x{13439}-\x{1343f})"},
    {"Co", R"(\p{Co})",
     R"()"},
    {"Arabic", R"(\p{sc:Arabic})",
     R"(\x{897}\x{10ec2}-\x{10ec4}\x{10efc}-\x{10eff})"},
    {"Armenian", R"(\p{sc:Armenian})",
     R"()"},
    {"Bengali", R"(\p{sc:Bengali})",
     R"()"},
    {"Cyrillic", R"(\p{sc:Cyrillic})",
     R"(\x{1c89}-\x{1c8a}\x{1e030}-\x{1e06d}\x{1e08f})"},
    {"Devanagari", R"(\p{sc:Devanagari})",
     R"(\x{11b00}-\x{11b09})"},
    {"Ethiopic", R"(\p{sc:Ethiopic})",
     R"()"},
    {"Georgian", R"(\p{sc:Georgian})",
     R"()"},
    {"Greek", R"(\p{sc:Greek})",
     R"()"},
    {"Gujarati", R"(\p{sc:Gujarati})",
     R"()"},
    {"Hangul", R"(\p{sc:Hangul})",
     R"()"},
    {"Han", R"(\p{sc:Han})",
     R"(\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})"},
    {"Hebrew", R"(\p{sc:Hebrew})",
     R"()"},
    {"Hiragana", R"(\p{sc:Hiragana})",
     R"(\x{1b132})"},
    {"Kannada", R"(\p{sc:Kannada})",
     R"(\x{cf3})"},
    {"Katakana", R"(\p{sc:Katakana})",
     R"(\x{1b155})"},
    {"Khmer", R"(\p{sc:Khmer})",
     R"()"},
    {"Lao", R"(\p{sc:Lao})",
     R"(\x{ece})"},
    {"Latin", R"(\p{sc:Latin})",
     R"(\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{1df25}-\x{1df2a})"},
    {"Malayalam", R"(\p{sc:Malayalam})",
     R"()"},
    {"Mongolian", R"(\p{sc:Mongolian})",
     R"()"},
    {"Myanmar", R"(\p{sc:Myanmar})",
     R"(\x{116d0}-\x{116e3})"},
    {"Tamil", R"(\p{sc:Tamil})",
     R"()"},
    {"Telugu", R"(\p{sc:Telugu})",
     R"()"},
    {"Thai", R"(\p{sc:Thai})",
     R"()"},
    {"Tibetan", R"(\p{sc:Tibetan})",
     R"()"},
    {"onig:word", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})",
     R"(\x{b2}-\x{b3}\x{b9}\x{bc}-\x{be}\x{897}\x{cf3}\x{ece}\x{1c89}-\x{1c8a})"
     R"(\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}\x{10d40}-\x{10d65})"
     R"(\x{10d69}-\x{10d6d}\x{10d6f}-\x{10d85}\x{10ec2}-\x{10ec4}\x{10efc}-\x{10eff})"
     R"(\x{1123f}-\x{11241}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5})"
     R"(\x{113b7}-\x{113c0}\x{113c2}\x{113c5}\x{113c7}-\x{113ca}\x{113cc}-\x{113d3})"
     R"(\x{113e1}-\x{113e2}\x{116d0}-\x{116e3}\x{11bc0}-\x{11be0}\x{11bf0}-\x{11bf9})"
     R"(\x{11f00}-\x{11f10}\x{11f12}-\x{11f3a}\x{11f3e}-\x{11f42}\x{11f50}-\x{11f5a})"
     R"(\x{1342f}\x{13440}-\x{13455}\x{13460}-\x{143fa}\x{16100}-\x{16139})"
     R"(\x{16d40}-\x{16d6c}\x{16d70}-\x{16d79}\x{18cff}\x{1b132}\x{1b155}\x{1ccf0}-\x{1ccf9})"
     R"(\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d}\x{1e08f}\x{1e4d0}-\x{1e4f9})"
     R"(\x{1e5d0}-\x{1e5fa}\x{2b739}\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})"},
    {"rust:word", R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_C})",
     R"(\x{897}\x{cf3}\x{ece}\x{1c89}-\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc})"
     R"(\x{105c0}-\x{105f3}\x{10d40}-\x{10d65}\x{10d69}-\x{10d6d}\x{10d6f}-\x{10d85})"
     R"(\x{10ec2}-\x{10ec4}\x{10efc}-\x{10eff}\x{1123f}-\x{11241}\x{11380}-\x{11389})"
     R"(\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7}-\x{113c0}\x{113c2}\x{113c5})"
     R"(\x{113c7}-\x{113ca}\x{113cc}-\x{113d3}\x{113e1}-\x{113e2}\x{116d0}-\x{116e3})"
     R"(\x{11bc0}-\x{11be0}\x{11bf0}-\x{11bf9}\x{11f00}-\x{11f10}\x{11f12}-\x{11f3a})"
     R"(\x{11f3e}-\x{11f42}\x{11f50}-\x{11f5a}\x{1342f}\x{13440}-\x{13455})"
     R"(\x{13460}-\x{143fa}\x{16100}-\x{16139}\x{16d40}-\x{16d6c}\x{16d70}-\x{16d79})"
     R"(\x{18cff}\x{1b132}\x{1b155}\x{1ccf0}-\x{1ccf9}\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d})"
     R"(\x{1e08f}\x{1e4d0}-\x{1e4f9}\x{1e5d0}-\x{1e5fa}\x{2b739}\x{2ebf0}-\x{2ee5d})"
     R"(\x{31350}-\x{323af})"},
    {"rust:numeric", R"(\p{N})",
     R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11de0}-\x{11de9})"
     R"(\x{11f50}-\x{11f59}\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{16ff4}-\x{16ff6})"
     R"(\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})"},
    {"rust:punctuation", R"()",
     R"(\x{21}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{60}\x{7b}-\x{7e}\x{a1}\x{a7}\x{ab}\x{b6}-\x{b7})"
     R"(\x{bb}\x{bf}\x{37e}\x{387}\x{55a}-\x{55f}\x{589}-\x{58a}\x{5be}\x{5c0}\x{5c3}\x{5c6})"
     R"(\x{5f3}-\x{5f4}\x{609}-\x{60a}\x{60c}-\x{60d}\x{61b}\x{61e}-\x{61f}\x{66a}-\x{66d})"
     R"(\x{6d4}\x{700}-\x{70d}\x{7f7}-\x{7f9}\x{830}-\x{83e}\x{85e}\x{964}-\x{965}\x{970})"
     R"(\x{af0}\x{df4}\x{e4f}\x{e5a}-\x{e5b}\x{f04}-\x{f12}\x{f14}\x{f3a}-\x{f3d}\x{f85})"
     R"(\x{fd0}-\x{fd4}\x{fd9}-\x{fda}\x{104a}-\x{104f}\x{10fb}\x{1360}-\x{1368}\x{1400})"
     R"(\x{166d}-\x{166e}\x{169b}-\x{169c}\x{16eb}-\x{16ed}\x{1735}-\x{1736})"
     R"(\x{17d4}-\x{17d6}\x{17d8}-\x{17da}\x{1800}-\x{180a}\x{1944}-\x{1945})"
     R"(\x{1a1e}-\x{1a1f}\x{1aa0}-\x{1aa6}\x{1aa8}-\x{1aad}\x{1b5a}-\x{1b60})"
     R"(\x{1bfc}-\x{1bff}\x{1c3b}-\x{1c3f}\x{1c7e}-\x{1c7f}\x{1cc0}-\x{1cc7}\x{1cd3})"
     R"(\x{2010}-\x{2027}\x{2030}-\x{2043}\x{2045}-\x{2051}\x{2053}-\x{205e})"
     R"(\x{207d}-\x{207e}\x{208d}-\x{208e}\x{2308}-\x{230b}\x{2329}-\x{232a})"
     R"(\x{2768}-\x{2775}\x{27c5}-\x{27c6}\x{27e6}-\x{27ef}\x{2983}-\x{2998})"
     R"(\x{29d8}-\x{29db}\x{29fc}-\x{29fd}\x{2cf9}-\x{2cfc}\x{2cfe}-\x{2cff}\x{2d70})"
     R"(\x{2e00}-\x{2e2e}\x{2e30}-\x{2e42}\x{3001}-\x{3003}\x{3008}-\x{3011})"
     R"(\x{3014}-\x{301f}\x{3030}\x{303d}\x{30a0}\x{30fb}\x{a4fe}-\x{a4ff}\x{a60d}-\x{a60f})"
     R"(\x{a673}\x{a67e}\x{a6f2}-\x{a6f7}\x{a874}-\x{a877}\x{a8ce}-\x{a8cf}\x{a8f8}-\x{a8fa})"
     R"(\x{a8fc}\x{a92e}-\x{a92f}\x{a95f}\x{a9c1}-\x{a9cd}\x{a9de}-\x{a9df}\x{aa5c}-\x{aa5f})"
     R"(\x{aade}-\x{aadf}\x{aaf0}-\x{aaf1}\x{abeb}\x{fd3e}-\x{fd3f}\x{fe10}-\x{fe19})"
     R"(\x{fe30}-\x{fe52}\x{fe54}-\x{fe61}\x{fe63}\x{fe68}\x{fe6a}-\x{fe6b}\x{ff01}-\x{ff03})"
     R"(\x{ff05}-\x{ff0a}\x{ff0c}-\x{ff0f}\x{ff1a}-\x{ff1b}\x{ff1f}-\x{ff20})"
     R"(\x{ff3b}-\x{ff3d}\x{ff3f}\x{ff5b}\x{ff5d}\x{ff5f}-\x{ff65}\x{10100}-\x{10102})"
     R"(\x{1039f}\x{103d0}\x{1056f}\x{10857}\x{1091f}\x{1093f}\x{10a50}-\x{10a58}\x{10a7f})"
     R"(\x{10af0}-\x{10af6}\x{10b39}-\x{10b3f}\x{10b99}-\x{10b9c}\x{11047}-\x{1104d})"
     R"(\x{110bb}-\x{110bc}\x{110be}-\x{110c1}\x{11140}-\x{11143}\x{11174}-\x{11175})"
     R"(\x{111c5}-\x{111c9}\x{111cd}\x{111db}\x{111dd}-\x{111df}\x{11238}-\x{1123d}\x{112a9})"
     R"(\x{114c6}\x{115c1}-\x{115d7}\x{11641}-\x{11643}\x{1173c}-\x{1173e})"
     R"(\x{12470}-\x{12474}\x{16a6e}-\x{16a6f}\x{16af5}\x{16b37}-\x{16b3b}\x{16b44}\x{1bc9f})"
     R"(\x{1da87}-\x{1da8b})"},
};

struct CodePointRange {
  char32_t first, last;
};

// Not known to the package's normaliser.
inline constexpr CodePointRange kNormalizationBarriers[] = {
    {0x7FD, 0x7FD}, {0x898, 0x89F}, {0x8CA, 0x8D3}, {0x9FE, 0x9FE}, {0xC3C, 0xC3C},
    {0xD3B, 0xD3C}, {0xEBA, 0xEBA}, {0x1715, 0x1715}, {0x1ABF, 0x1ACE}, {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF}, {0xA7F2, 0xA7F4}, {0xA82C, 0xA82C}, {0xAB69, 0xAB69}, {0x10781, 0x10785},
    {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC},
    {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070},
    {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930},
    {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136},
    {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C},
    {0x1FBF0, 0x1FBF9},
};

// Lower case of first..last is to + (c - first), followed by `then` unless 0.
struct LowerException {
  char32_t first, last, to, then;
};

inline constexpr LowerException kLowerExceptions[] = {
    {0x130, 0x130, 0x69, 0x307},
    {0x1C89, 0x1C89, 0x1C8A, 0x0},
    {0xA7CB, 0xA7CB, 0x264, 0x0},
    {0xA7CC, 0xA7CC, 0xA7CD, 0x0},
    {0xA7CE, 0xA7CE, 0xA7CF, 0x0},
    {0xA7D2, 0xA7D2, 0xA7D3, 0x0},
    {0xA7D4, 0xA7D4, 0xA7D5, 0x0},
    {0xA7DA, 0xA7DA, 0xA7DB, 0x0},
    {0xA7DC, 0xA7DC, 0x19B, 0x0},
    {0x10D50, 0x10D65, 0x10D70, 0x0},
    {0x16EA0, 0x16EB8, 0x16EBB, 0x0},
};

}  // namespace pocket
