// Chat templates against Python's jinja2 as transformers sets it up: what
// scripts/make_chat_golden.py wrote.
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/text/chat_template.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;
using nlohmann::ordered_json;

namespace {

std::filesystem::path folder() { return source_dir() / "test/golden/chat"; }

ordered_json read_golden(const char* name) {
  return ordered_json::parse(read_file(folder() / name));
}

// The golden files' "now" on this machine's clock.
std::time_t golden_time(const std::string& text) {
  std::tm time{};
  REQUIRE(std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                      &time.tm_hour, &time.tm_min, &time.tm_sec) == 6);
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  time.tm_isdst = -1;
  return std::mktime(&time);
}

// What a template gives, in the form of the golden entries: {"text"}, or {"error"} with the
// template's own message or null.
ordered_json outcome(const std::string& source, const ordered_json& variables, std::time_t now) {
  try {
    return {{"text", ChatTemplate(source).render(variables, now)}};
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.code != ExitCode::usage) {
      CHECK(error.code == ExitCode::bad_input);
      return {{"error", nullptr}};
    }
    static const std::string kFront = "the chat template refuses this conversation: ";
    REQUIRE(message.starts_with(kFront));
    return {{"error", message.substr(kFront.size())}};
  }
}

bool same(const ordered_json& got, const ordered_json& wanted) {
  const char* key = wanted.contains("text") ? "text" : "error";
  return got.contains(key) && got.at(key) == wanted.at(key);
}

}  // namespace

TEST_CASE("templates of many model families equal jinja2 on every conversation") {
  const ordered_json golden = read_golden("conversations.json");
  const std::time_t now = golden_time(golden.at("now"));
  std::string name, source;
  size_t templates = 0, texts = 0, errors = 0;
  for (const auto& entry : golden.at("renderings")) {
    if (entry.at("template") != name) {
      name = entry.at("template");
      source = read_file(folder() / "templates" / name);
      ++templates;
    }
    ordered_json variables = golden.at("tokens");
    variables["messages"] =
        golden.at("conversations").at(entry.at("conversation").get<std::string>());
    variables["tools"] = nullptr;
    variables["documents"] = nullptr;
    variables["add_generation_prompt"] = entry.at("add_generation_prompt");
    const ordered_json got = outcome(source, variables, now);
    entry.contains("text") ? ++texts : ++errors;
    if (same(got, entry)) continue;
    FAIL_CHECK(name << ", " << entry.at("conversation") << ": " << got.dump() << " instead of "
                    << entry.dump());
  }
  CHECK(templates >= 20);
  CHECK(texts >= 500);
  CHECK(errors >= 50);
}

TEST_CASE("every construct equals jinja2") {
  const ordered_json golden = read_golden("snippets.json");
  const std::time_t now = golden_time(golden.at("now"));
  size_t texts = 0;
  for (const auto& entry : golden.at("snippets")) {
    const ordered_json got = outcome(entry.at("source"), golden.at("variables"), now);
    texts += entry.contains("text");
    if (same(got, entry)) continue;
    FAIL_CHECK(entry.at("source") << " gave " << got.dump() << " instead of " << entry.dump());
  }
  CHECK(texts >= 120);
}

TEST_CASE("messages and tokens become the template's variables") {
  const ChatTemplate chat(
      "{{ bos_token }}{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
      "{{ tools is none }}{{ eos_token is defined }}{{ '>' if add_generation_prompt }}");
  CHECK(chat.render({{"system", "é"}, {"user", "{{ 1 }}\xff"}}, {{"bos_token", "<s>"}}, true) ==
        "<s>[system:é][user:{{ 1 }}\uFFFD]TrueFalse>");
  CHECK(chat.render({}, {{"eos_token", "x"}}, false) == "TrueTrue");
}
