// The random strings of the golden files: draw by draw what scripts/make_tokenizer_golden.py makes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "test/text/test_support.h"

namespace pocket::test {

// String number `index`; added: the texts of the tokenizer's added tokens, some are embedded.
std::string random_string(uint64_t index, const std::vector<std::string>& added);

}  // namespace pocket::test
