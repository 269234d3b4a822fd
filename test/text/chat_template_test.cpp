// Chat templates: what is refused and how, bounds, hostile input.
#include "runtime/text/chat_template.h"

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;
using nlohmann::ordered_json;

namespace {

// The message of the Error that reading or rendering gives; "" when there is none.
std::string refusal(const std::string& source) {
  try {
    ChatTemplate(source).render(ordered_json{{"x", 1}, {"t", "text"}}, 0);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string read_refusal(const std::string& source) {
  try {
    const ChatTemplate chat(source);
  } catch (const Error& error) {
    CHECK(error.code == ExitCode::bad_input);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string repeated(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("what is not known is refused by name when the template is read") {
  CHECK(contains(read_refusal("a\n{% include 'x' %}"), "line 2: the tag 'include' is not supp"));
  CHECK(contains(read_refusal("{{ x | pprint }}"), "the filter 'pprint'"));
  CHECK(contains(read_refusal("{{ x is escaped }}"), "the test 'escaped'"));
  CHECK(contains(read_refusal("{{ x.encode('a') }}"), "the method 'encode'"));
  CHECK(contains(read_refusal("{{ x.append(1) }}"), "the method 'append'"));
  CHECK(contains(read_refusal("{{ lipsum(3) }}"), "the function 'lipsum'"));
  CHECK(contains(read_refusal("{% for a in b recursive %}{% endfor %}"), "recursive loop"));
  CHECK(contains(read_refusal("{{ x.__class__ }}"), "'__class__'"));
  CHECK(contains(read_refusal("{{ x | map('pprint') }}"), "asks for 'pprint'"));
  CHECK(contains(read_refusal("{{ x | selectattr('a', 'escaped') }}"), "asks for 'escaped'"));
  CHECK(contains(read_refusal("{{ x | trim(1, 2) }}"), "takes at most 1 arguments"));
  CHECK(contains(read_refusal("{{ x | indent(wide=2) }}"), "the argument 'wide'"));
  CHECK(contains(read_refusal("{{ x | replace('a') }}"), "needs the argument 'new'"));
  CHECK(contains(read_refusal("{{ (x | safe) + 'a' }}"), "'safe'"));
  CHECK(contains(read_refusal("{% for a in b %}{% macro m() %}{% endmacro %}{% endfor %}"),
                 "a macro inside"));
  CHECK(contains(read_refusal("{{ f(*x) }}"), "'*' in a call"));
  CHECK(contains(read_refusal("{{ '\\N{DASH}' }}"), "escape"));
}

TEST_CASE("a value that cannot be used is named") {
  CHECK(contains(refusal("{{ y.z }}"), "'y' is undefined"));
  CHECK(contains(refusal("{{ x + 'a' }}"), "int + str"));
  CHECK(contains(refusal("{{ t.upper }}"), "'upper' of a str"));
  CHECK(contains(refusal("{{ 'ß' | upper }}"), "'ß'"));
  CHECK(contains(refusal("{{ 9223372036854775807 + 1 }}"), "64 bits"));
  CHECK(refusal("{{ raise_exception('No ' ~ t ~ '!') }}") ==
        "the chat template refuses this conversation: No text!");
}

TEST_CASE("a template is bounded in everything") {
  CHECK(contains(read_refusal(std::string((1 << 20) + 1, 'a')), "1048577 bytes"));
  CHECK(contains(read_refusal("{{ " + std::string(5000, '(')), "nest"));
  CHECK(contains(read_refusal("{{ " + std::string(5000, '[')), "nest"));
  CHECK(contains(read_refusal("{{ " + std::string(5000, '-') + "1 }}"), "nests deeper"));
  CHECK(contains(read_refusal("{{ " + repeated("not ", 5000) + "1 }}"), "nests deeper"));
  CHECK(contains(read_refusal("{{ 1" + repeated(" + 1", 5000) + " }}"), "nests deeper"));
  CHECK(contains(read_refusal("{{ x" + repeated(".a", 5000) + " }}"), "nests deeper"));
  CHECK(contains(read_refusal("{{ x" + repeated("|trim", 5000) + " }}"), "nests deeper"));
  CHECK(contains(read_refusal("{{ 1" + repeated(" if 1 else 1", 5000) + " }}"), "nests deeper"));
  CHECK(contains(read_refusal(repeated("{% if 1 %}", 5000)), "nests deeper"));
  CHECK(contains(read_refusal(repeated("{% for a in b %}", 5000)), "nests deeper"));

  CHECK(contains(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "deeper than 500"));
  const std::string loop = "{% for a in range(100000) %}";
  CHECK(contains(refusal(repeated(loop, 4) + repeated("{% endfor %}", 4)), "steps"));
  CHECK(contains(refusal(loop + repeated("0123456789", 100) + "{% endfor %}"), "makes more than"));
  CHECK(contains(refusal("{{ 'a' * 99999999999 }}"), "too often"));
  CHECK(contains(refusal("{% set n = namespace(v='ab') %}{% for i in range(99) %}"
                         "{% set n.v = n.v ~ n.v %}{% endfor %}"),
                 "bytes"));
  CHECK(contains(refusal("{% set n = namespace(v=[1]) %}{% for i in range(99) %}"
                         "{% set n.v = [n.v, n.v] %}{% endfor %}{{ n.v }}"),
                 "builds a value of more"));
  CHECK(contains(refusal("{% set n = namespace(v=1) %}{% for i in range(99) %}"
                         "{% set n.v = [n.v] %}{% endfor %}"),
                 "deeper than 64"));
  // A namespace that holds itself, a loop and a block that have ended.
  CHECK(refusal("{% set n = namespace() %}{% set n.v = [n] %}{% set n.w = n %}{{ n.w == n }}")
            .empty());
  CHECK(refusal("{% set n = namespace() %}{% for i in [1, 2] if i %}{% set n.l = loop %}"
                "{{ loop.changed(loop) }}{% endfor %}{{ n.l.last }}{{ n.l.nextitem }}")
            .empty());
  CHECK(contains(refusal("{% set n = namespace() %}{% macro m() %}{% set n.c = caller %}"
                         "{{ caller() }}{% endmacro %}{% call m() %}{% endcall %}"
                         "{% set c = n.c %}{{ c() }}"),
                 "a block that has ended"));
}

TEST_CASE("random bytes and mutations are read or refused") {
  std::vector<std::string> sources = {
      "{%- for m in messages if m.role != 'x' -%}{{ loop.index ~ m['content'][::-1] | trim }}"
      "{% else %}{# c #}{% endfor %}{% set ns = namespace(a=[1, 2.5], b={'k': none}) %}"
      "{% set ns.a = ns.a + [x] %}{{ ns.b.get('k', 1) }}{% macro f(a, b=1) %}{{ a }}{{ caller() if "
      "caller }}{% endmacro %}{{ f(x, b=t) }}{% call f(1) %}z{% endcall %}{% filter upper %}q"
      "{% endfilter %}{% with a = 1 %}{{ a is divisibleby 1 }}{% endwith %}{% raw %}{{{% endraw "
      "%}"};
  const auto templates = source_dir() / "test/golden/chat/templates";
  for (const auto& file : std::filesystem::directory_iterator(templates)) {
    sources.push_back(read_file(file.path()));
  }
  const ordered_json variables = {
      {"x", 1}, {"t", "téxt"}, {"messages", {{{"role", "user"}, {"content", "a\nb"}}}}};
  static const std::vector<std::string> kPieces = {
      "{{",        "}}",     "{%",       "%}",         "{#",       "#}",          "-%}",   "{%-",
      " if ",      " else ", "endfor",   "endif",      "'",        "\"",          "\\",    "|",
      "[",         "]",      "(",        ")",          "{",        "}",           "~",     "*",
      "**",        "//",     ".",        ",",          ":",        "=",           " not ", " in ",
      " is ",      "loop",   "messages", "9999999999", "0.5",      "namespace()", "raw",   "set x",
      "macro m()", "|list",  "|join",    "|tojson",    "range(9)", "\n",          "\xff",  "é"};
  size_t read = 0, refused = 0;
  for (uint64_t round = 0; round < 6000; round += kStride == 1 ? 1 : 2) {
    Draws draws(round * 7919 + 3);
    std::string source;
    if (round % 4 == 0) {
      for (uint32_t left = draws.below(60); left > 0; --left) {
        source += draws.below(3) != 0 ? kPieces[draws.below(kPieces.size())]
                                      : std::string(1, static_cast<char>(draws.below(256)));
      }
    } else {
      source = sources[draws.below(sources.size())];
      for (uint32_t left = 1 + draws.below(4); left > 0 && !source.empty(); --left) {
        const size_t at = draws.below(source.size());
        if (draws.below(2) != 0) source.erase(at, draws.below(12));
        if (draws.below(2) != 0 && at <= source.size()) {
          source.insert(at, kPieces[draws.below(kPieces.size())]);
        }
      }
    }
    try {
      ChatTemplate(source).render(variables, 0);
      ++read;
    } catch (const Error& error) {
      ++refused;
      if (error.code != ExitCode::bad_input && error.code != ExitCode::usage) {
        FAIL(round << ": " << error.what());
      }
    } catch (const std::exception& error) {
      FAIL("round " << round << ": " << error.what() << "\n" << escaped(source));
    }
  }
  CHECK(read > 300);
  CHECK(refused > 300);
}
