// What a chat template computes with: Python's values, as far as templates use them.
//
// Values are immutable save namespaces and the position of a generator. Lists and dicts know how
// deep they nest and how much they hold, shared parts counted as often as they occur, and refuse
// too much of either: every recursion over a value ends soon.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pocket::jinja {

// Throws Error(bad_input, "the chat template ..."). what: a part of a sentence.
[[noreturn]] void fail(const std::string& what);

inline constexpr int kMaxValueDepth = 64;
inline constexpr size_t kMaxValueSize = size_t{1} << 24;

class Value;
struct Loop;      // interpreter.h
struct Callable;  // interpreter.h

// A name that stands for nothing: prints as nothing, is false, has no attributes.
struct Undefined {
  std::string what;  // "'x' is undefined"
};
struct None {};

struct List;
struct Dict;
struct Namespace;

class Value {
 public:
  Value() : data_(Undefined{}) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}  // NOLINT: converts
  Value(None none) : data_(none) {}                            // NOLINT
  Value(bool value) : data_(value) {}                          // NOLINT
  Value(int64_t value) : data_(value) {}                       // NOLINT
  Value(double value) : data_(value) {}                        // NOLINT
  Value(std::string text)
      : data_(std::make_shared<const std::string>(std::move(text))) {}       // NOLINT
  Value(const char* text) : Value(std::string(text)) {}                      // NOLINT
  Value(std::string_view text) : Value(std::string(text)) {}                 // NOLINT
  Value(std::shared_ptr<const List> list) : data_(std::move(list)) {}        // NOLINT
  Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}        // NOLINT
  Value(Namespace* names) : data_(names) {}                                  // NOLINT
  Value(std::shared_ptr<Loop> loop) : data_(std::move(loop)) {}              // NOLINT
  Value(std::shared_ptr<Callable> callable) : data_(std::move(callable)) {}  // NOLINT

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }  // not for true and false
  bool is_real() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_real(); }
  bool is_text() const { return get_if<std::shared_ptr<const std::string>>() != nullptr; }

  const std::string& text() const { return **get_if<std::shared_ptr<const std::string>>(); }
  const std::string& undefined_reason() const { return get_if<Undefined>()->what; }
  const List* list() const;  // nullptr when it is none; so below
  const Dict* dict() const;
  Namespace* names() const;
  const std::shared_ptr<Loop>* loop() const { return get_if<std::shared_ptr<Loop>>(); }
  const std::shared_ptr<Callable>* callable() const { return get_if<std::shared_ptr<Callable>>(); }
  std::optional<int64_t> integer() const;  // also of true and false
  double real() const;                     // of a number

  int depth() const;
  size_t size() const;            // bytes of its texts and 8 for each item
  const char* type_name() const;  // "str", "dict", ... as Python names it

 private:
  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&data_);
  }

  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*,
               std::shared_ptr<Loop>, std::shared_ptr<Callable>>
      data_;
};

// list, tuple, range; a view of a dict (items, keys, values); or a generator, which gives every
// item once, is always true and has no length.
struct List {
  enum class Kind { list, tuple, range, view, generator };
  Kind kind = Kind::list;
  std::vector<Value> items;
  int depth = 1;
  size_t size = 0;
  mutable size_t taken = 0;  // generator: items that were given

  bool has_length() const { return kind != Kind::generator; }
  bool has_items() const { return kind != Kind::generator && kind != Kind::view; }
};

// In the order of insertion. Keys are texts or integers.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;
  size_t size = 0;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
};

Value make_list(std::vector<Value> items, List::Kind kind = List::Kind::list);
// A later item of the same key replaces the earlier one in its place.
Value make_dict(std::vector<std::pair<Value, Value>> items);
Value from_json(const nlohmann::ordered_json& json);

// --- Python's operations on them -----------------------------------------------------------------

bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
// -1, 0 or 1; fails when Python has no order between the two.
int compare(const Value& a, const Value& b);
std::string to_text(const Value& value);  // str(value)
std::string repr(const Value& value);     // repr(value)

struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
std::string to_json(const Value& value, const JsonStyle& style);  // json.dumps

}  // namespace pocket::jinja
