// Python's str methods over UTF-8, positions counted in code points.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pocket::jinja {

bool is_python_space(char32_t c);  // str.isspace() of one character

size_t length(std::string_view text);
// Where every code point begins, and the end of the text.
std::vector<size_t> starts(std::string_view text);

// Without the given characters on the left and the right; no characters given: white space.
std::string_view strip(std::string_view text, const std::optional<std::string>& characters,
                       bool left, bool right);

// str.split and str.rsplit: no separator given: runs of white space. most < 0: everywhere.
std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t most);
std::vector<std::string> split_from_right(std::string_view text,
                                          const std::optional<std::string>& separator,
                                          int64_t most);
std::vector<std::string> split_lines(std::string_view text);

// most < 0: every one. An empty `from` is found between all characters.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t most);
int64_t count(std::string_view text, std::string_view part);

// Letters whose case depends on their neighbours or becomes several letters are refused.
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);    // first upper, rest lower
std::string title_method(std::string_view text);  // str.title(): ASCII only
std::string title_filter(std::string_view text);  // jinja2's title
bool is_lower(std::string_view text);             // str.islower(): ASCII only
bool is_upper(std::string_view text);

}  // namespace pocket::jinja
