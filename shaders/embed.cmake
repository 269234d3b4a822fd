# Writes OUT, a C++ file that holds FOLDER/<name>.spv for every name in NAMES ("a|b|c") as words.
string(REPLACE "|" ";" names "${NAMES}")
list(SORT names)
set(arrays "")
set(rows "")
foreach(name IN LISTS names)
  file(READ ${FOLDER}/${name}.spv bytes HEX)
  string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1u," words "${bytes}")
  string(APPEND arrays "constexpr uint32_t ${name}_code[] = {${words}};\n")
  string(APPEND rows "    {\"${name}\", ${name}_code},\n")
endforeach()
list(LENGTH names count)
file(WRITE ${OUT} "// Made by shaders/embed.cmake from shaders/variants.txt.
#include \"runtime/kernels/shader_registry.h\"

#include <algorithm>
#include <iterator>

#include \"runtime/base/error.h\"

namespace pocket {
namespace {
${arrays}
struct Row {
  std::string_view name;
  std::span<const uint32_t> code;
};
constexpr Row kRows[] = {
${rows}};
}  // namespace

std::span<const uint32_t> shader_code(std::string_view variant) {
  const auto row = std::lower_bound(std::begin(kRows), std::end(kRows), variant,
                                    [](const Row& a, std::string_view b) { return a.name < b; });
  if (row == std::end(kRows) || row->name != variant) {
    throw Error(ExitCode::device, \"this build embeds no shader variant '\" + std::string(variant) +
                                      \"'; see shaders/variants.txt\");
  }
  return row->code;
}

std::vector<std::string_view> shader_variants() {
  std::vector<std::string_view> names;
  for (const Row& row : kRows) names.push_back(row.name);
  return names;
}

}  // namespace pocket
")
