#include "test/text/random_text.h"

#include <array>
#include <utility>

#include "runtime/text/unicode.h"

namespace pocket::test {

namespace {

using Texts = std::vector<std::string>;

const Texts kWords = {"the",    "and",       "wolf",        "Once",   "upon",   "time",   "HELLO",
                      "World",  "tokenizer", "Transformer", "x",      "y",      "kv",     "GPU",
                      "naive",  "café",      "über",        "straße", "Ελλάδα", "Москва", "нещо",
                      "ſtreet", "KELVIN",    "İstanbul",    "ﬁne",    "ǅungla"};
const Texts kContractions = {"'s",      "'t",      "'re", "'ve", "'m", "'ll", "'d",
                             "'S",      "'T",      "'RE", "'Ve", "'M", "'lL", "'D",
                             "\u2019s", "'\u017f", "'",   "''",  "s'", "'ss"};
const Texts kSpaces = {" ",      " ",      " ",      " ",        "  ",     "   ",    "\t",
                       "\n",     "\n\n",   "\r",     "\r\n",     "\v",     "\f",     "\x1c",
                       "\x1d",   "\x1e",   "\x1f",   "\xc2\x85", "\u00a0", "\u1680", "\u180e",
                       "\u2000", "\u2001", "\u2002", "\u2003",   "\u2004", "\u2005", "\u2006",
                       "\u2007", "\u2008", "\u2009", "\u200a",   "\u200b", "\u2028", "\u2029",
                       "\u202f", "\u205f", "\u2060", "\u3000",   "\ufeff"};
const Texts kEmoji = {"\U0001f680",
                      "\U0001f636\u200d\U0001f32b\ufe0f",
                      "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
                      "\U0001f44d\U0001f3fd",
                      "\u2705",
                      "\U0001f1e9\U0001f1ea",
                      "1\ufe0f\u20e3",
                      "\U0001f999",
                      "\u2764\ufe0f",
                      "\U0001f3f4\U000e0067\U000e0062\U000e007f"};
constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
using Block = std::pair<uint32_t, uint32_t>;  // first code point, size
constexpr std::array<Block, 10> kBlocks = {{{0x0900, 0x80},
                                            {0x0E00, 0x80},
                                            {0xAC00, 0x2BA4},
                                            {0xFF01, 0xBE},
                                            {0x1E00, 0x100},
                                            {0x1100, 0x100},
                                            {0xF900, 0x200},
                                            {0x2070, 0x120},
                                            {0x1D400, 0x100},
                                            {0x3040, 0xC0}}};

const std::string& one_of(Draws& draws, const Texts& texts) {
  return texts[draws.below(texts.size())];
}

// 1 to `most` characters of a block.
std::string run_of(Draws& draws, Block block, uint32_t most) {
  std::string out;
  const uint32_t count = 1 + draws.below(most);
  for (uint32_t i = 0; i < count; ++i) append_utf8(out, block.first + draws.below(block.second));
  return out;
}

std::string random_part(Draws& draws, const Texts& added) {
  const uint32_t kind = draws.below(17);
  std::string out;
  switch (kind) {
    case 0:
    case 1:
    case 2: {
      const bool space = draws.below(2) != 0;
      return (space ? " " : "") + one_of(draws, kWords);
    }
    case 3:
      return run_of(draws, {'0', 10}, 8);
    case 4:
      for (uint32_t left = 1 + draws.below(6); left > 0; --left) out += one_of(draws, kSpaces);
      return out;
    case 5:
      return one_of(draws, kContractions);
    case 6:
      return one_of(draws, kEmoji);
    case 7:
      append_utf8(out, 'a' + draws.below(26));
      return out + run_of(draws, {0x300, 0x70}, 3);
    case 8:
      return run_of(draws, {0x4E00, 20992}, 5);
    case 9:
      return run_of(draws, draws.below(2) == 0 ? Block{0x5D0, 27} : Block{0x620, 43}, 5);
    case 10: {
      const uint32_t c = draws.below(65);
      append_utf8(out, c < 32 ? c : 127 + c - 32);
      return out;
    }
    case 11:
      return added.empty() ? "<|none|>" : one_of(draws, added);
    case 12:
      for (uint32_t left = 1 + draws.below(3); left > 0; --left) {
        const uint32_t c = draws.below(0x110000 - 0x800);
        append_utf8(out, c < 0xD800 ? c : c + 0x800);
      }
      return out;
    case 13:
      for (uint32_t left = 1 + draws.below(4); left > 0; --left) {
        out += kPunctuation[draws.below(kPunctuation.size())];
      }
      return out;
    case 14:
      return run_of(draws, {0, 0x3000}, 3);
    case 15:
      return run_of(draws, kBlocks[draws.below(kBlocks.size())], 4);
    default:
      return std::string(1 + draws.below(40), ' ');
  }
}

}  // namespace

std::string random_string(uint64_t index, const std::vector<std::string>& added) {
  Draws draws(index * 0x2545F4914F6CDD1D + 12345);
  std::string out;
  for (uint32_t left = 1 + draws.below(9); left > 0; --left) out += random_part(draws, added);
  return out;
}

}  // namespace pocket::test
