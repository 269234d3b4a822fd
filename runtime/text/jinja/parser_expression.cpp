#include <algorithm>
#include <array>

#include "runtime/text/jinja/builtins.h"
#include "runtime/text/jinja/parser.h"
#include "runtime/text/jinja/parser_level.h"

namespace pocket::jinja {

namespace {

template <class... Children>
std::vector<ExpressionPtr> children_of(Children... children) {
  std::vector<ExpressionPtr> out;
  (out.push_back(std::move(children)), ...);
  return out;
}

std::vector<std::string_view> names_of(const Expression& call) {
  std::vector<std::string_view> out;
  for (const auto& [name, value] : call.named) out.push_back(name);
  return out;
}

}  // namespace

void Parser::note_depth(Expression& node) const {
  for (const ExpressionPtr& child : node.children) {
    if (child) node.depth = std::max(node.depth, child->depth + 1);
  }
  for (const auto& [name, child] : node.named) node.depth = std::max(node.depth, child->depth + 1);
  if (node.depth > 2 * kMaxNesting) {
    fail_at(node.line, "an expression nests deeper than " + std::to_string(2 * kMaxNesting));
  }
}

ExpressionPtr Parser::make(Kind kind, int line, std::vector<ExpressionPtr> children,
                           std::string text) const {
  auto out = std::make_unique<Expression>();
  out->kind = kind;
  out->line = line;
  out->text = std::move(text);
  out->children = std::move(children);
  note_depth(*out);
  return out;
}

// Several expressions with commas between them are a tuple.
ExpressionPtr Parser::parse_tuple(bool with_conditional) {
  const int line = now().line;
  ExpressionPtr first = parse_expression(with_conditional);
  if (!is_op(",")) return first;
  std::vector<ExpressionPtr> items = children_of(std::move(first));
  while (skip_op(",")) {
    const Token::Kind kind = now().kind;
    if (kind == Token::Kind::variable_end || kind == Token::Kind::block_end || is_op(")")) break;
    items.push_back(parse_expression(with_conditional));
  }
  return make(Kind::tuple, line, std::move(items));
}

ExpressionPtr Parser::parse_expression(bool with_conditional) {
  const Level level(*this);
  ExpressionPtr out = parse_or();
  while (with_conditional && is_name("if")) {
    const int line = now().line;
    ++pos_;
    ExpressionPtr condition = parse_or();
    ExpressionPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    out = make(Kind::conditional, line,
               children_of(std::move(condition), std::move(out), std::move(otherwise)));
  }
  return out;
}

ExpressionPtr Parser::parse_or() {
  ExpressionPtr out = parse_and();
  while (is_name("or")) {
    const int line = tokens_[pos_++].line;
    out = make(Kind::logical_or, line, children_of(std::move(out), parse_and()));
  }
  return out;
}

ExpressionPtr Parser::parse_and() {
  ExpressionPtr out = parse_not();
  while (is_name("and")) {
    const int line = tokens_[pos_++].line;
    out = make(Kind::logical_and, line, children_of(std::move(out), parse_not()));
  }
  return out;
}

ExpressionPtr Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Level level(*this);
  const int line = tokens_[pos_++].line;
  return make(Kind::logical_not, line, children_of(parse_not()));
}

ExpressionPtr Parser::parse_compare() {
  static constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
  ExpressionPtr out = parse_sum();
  const int line = now().line;
  std::vector<ExpressionPtr> items = children_of(std::move(out));
  std::vector<std::string> operators;
  while (true) {
    const bool symbol =
        now().kind == Token::Kind::op &&
        std::find(kOperators.begin(), kOperators.end(), now().text) != kOperators.end();
    if (symbol) {
      operators.push_back(tokens_[pos_++].text);
    } else if (is_name("in")) {
      ++pos_;
      operators.emplace_back("in");
    } else if (is_name("not") && ahead().kind == Token::Kind::name && ahead().text == "in") {
      pos_ += 2;
      operators.emplace_back("not in");
    } else {
      break;
    }
    items.push_back(parse_sum());
  }
  if (operators.empty()) return std::move(items[0]);
  ExpressionPtr made = make(Kind::compare, line, std::move(items));
  made->operators = std::move(operators);
  return made;
}

ExpressionPtr Parser::parse_sum() {
  ExpressionPtr out = parse_concat();
  while (is_op("+") || is_op("-")) {
    const Token& op = tokens_[pos_++];
    out = make(Kind::arithmetic, op.line, children_of(std::move(out), parse_concat()), op.text);
  }
  return out;
}

ExpressionPtr Parser::parse_concat() {
  ExpressionPtr out = parse_product();
  if (!is_op("~")) return out;
  const int line = now().line;
  std::vector<ExpressionPtr> items = children_of(std::move(out));
  while (skip_op("~")) items.push_back(parse_product());
  return make(Kind::concat, line, std::move(items));
}

ExpressionPtr Parser::parse_product() {
  ExpressionPtr out = parse_power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    const Token& op = tokens_[pos_++];
    out = make(Kind::arithmetic, op.line, children_of(std::move(out), parse_power()), op.text);
  }
  return out;
}

ExpressionPtr Parser::parse_power() {
  ExpressionPtr out = parse_unary(true);
  while (is_op("**")) {
    const Token& op = tokens_[pos_++];
    out = make(Kind::arithmetic, op.line, children_of(std::move(out), parse_unary(true)), op.text);
  }
  return out;
}

ExpressionPtr Parser::parse_unary(bool with_filter) {
  const Level level(*this);
  ExpressionPtr out;
  if (is_op("-") || is_op("+")) {
    const Token& op = tokens_[pos_++];
    out =
        make(op.text == "-" ? Kind::negate : Kind::plus, op.line, children_of(parse_unary(false)));
  } else {
    out = parse_primary();
  }
  out = parse_postfix(std::move(out));
  return with_filter ? parse_filters(std::move(out)) : std::move(out);
}

ExpressionPtr Parser::parse_primary() {
  const Token& token = now();
  const auto constant = [&](Value value) {
    ExpressionPtr out = make(Kind::constant, token.line, {});
    out->value = std::move(value);
    return out;
  };
  switch (token.kind) {
    case Token::Kind::name: {
      ++pos_;
      if (token.text == "true" || token.text == "True") return constant(true);
      if (token.text == "false" || token.text == "False") return constant(false);
      if (token.text == "none" || token.text == "None") return constant(None{});
      if (token.text == "varargs" || token.text == "kwargs") {
        fail_at(token.line, "'" + token.text + "' is not supported");
      }
      return make(Kind::name, token.line, {}, token.text);
    }
    case Token::Kind::string: {
      std::string text;
      while (now().kind == Token::Kind::string) text += tokens_[pos_++].text;
      return constant(std::move(text));
    }
    case Token::Kind::integer:
      ++pos_;
      return constant(token.integer);
    case Token::Kind::real:
      ++pos_;
      return constant(token.real);
    default:
      break;
  }
  if (is_op("(")) {
    ++pos_;
    if (skip_op(")")) return make(Kind::tuple, token.line, {});
    ExpressionPtr out = parse_tuple();
    expect_op(")");
    return out;
  }
  if (is_op("[")) return parse_bracketed(Kind::list, "]");
  if (is_op("{")) return parse_dict();
  unexpected();
}

ExpressionPtr Parser::parse_bracketed(Kind kind, std::string_view close) {
  const int line = tokens_[pos_++].line;
  std::vector<ExpressionPtr> items;
  while (!is_op(close)) {
    if (!items.empty()) expect_op(",");
    if (is_op(close)) break;
    items.push_back(parse_expression());
  }
  ++pos_;
  return make(kind, line, std::move(items));
}

ExpressionPtr Parser::parse_dict() {
  const int line = tokens_[pos_++].line;
  std::vector<ExpressionPtr> items;
  while (!is_op("}")) {
    if (!items.empty()) expect_op(",");
    if (is_op("}")) break;
    items.push_back(parse_expression());
    expect_op(":");
    items.push_back(parse_expression());
  }
  ++pos_;
  return make(Kind::dict, line, std::move(items));
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr object) {
  while (true) {
    if (is_op(".") || is_op("[")) {
      object = parse_subscript(std::move(object));
    } else if (is_op("(")) {
      object = parse_call(std::move(object));
    } else {
      return object;
    }
  }
}

ExpressionPtr Parser::parse_filters(ExpressionPtr input) {
  while (true) {
    if (is_op("|")) {
      input = parse_filter(std::move(input));
    } else if (input && is_name("is")) {
      input = parse_test(std::move(input));
    } else if (input && is_op("(")) {
      input = parse_call(std::move(input));
    } else {
      return input;
    }
  }
}

ExpressionPtr Parser::parse_subscript(ExpressionPtr object) {
  const int line = now().line;
  if (skip_op(".")) {
    if (now().kind == Token::Kind::integer) {
      ExpressionPtr key = make(Kind::constant, line, {});
      key->value = tokens_[pos_++].integer;
      return make(Kind::item, line, children_of(std::move(object), std::move(key)));
    }
    std::string name = expect_name("the attribute's name");
    if (name.starts_with("__")) fail_at(line, "the attribute '" + name + "' is not supported");
    return make(Kind::attribute, line, children_of(std::move(object)), std::move(name));
  }
  expect_op("[");
  std::array<ExpressionPtr, 3> parts;
  size_t part = 0;
  bool slice = false;
  while (!is_op("]")) {
    if (skip_op(":")) {
      slice = true;
      if (++part > 2) refuse("a slice has at most three parts");
    } else if (is_op(",")) {
      refuse("a subscript of several values is not supported");
    } else if (parts[part]) {
      unexpected();
    } else {
      parts[part] = parse_expression();
    }
  }
  ++pos_;
  if (!slice) {
    if (!parts[0]) fail_at(line, "a subscript is empty");
    return make(Kind::item, line, children_of(std::move(object), std::move(parts[0])));
  }
  return make(Kind::slice, line,
              children_of(std::move(object), std::move(parts[0]), std::move(parts[1]),
                          std::move(parts[2])));
}

// "(" and all that follows up to ")".
void Parser::parse_arguments(Expression& call) {
  expect_op("(");
  bool first = true;
  while (!is_op(")")) {
    if (!first) expect_op(",");
    first = false;
    if (is_op(")")) break;
    if (is_op("*") || is_op("**")) refuse("'" + now().text + "' in a call is not supported");
    if (now().kind == Token::Kind::name && ahead().kind == Token::Kind::op && ahead().text == "=") {
      std::string name = now().text;
      pos_ += 2;
      call.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!call.named.empty()) refuse("a positional argument follows a named one");
      call.children.push_back(parse_expression());
    }
  }
  ++pos_;
  note_depth(call);
}

void Parser::check_arguments(const Expression& call, const FunctionRow& row, const char* what,
                             size_t skip) const {
  const std::string wrong = what_does_not_fit(row, call.children.size() - skip, names_of(call));
  if (!wrong.empty()) {
    fail_at(call.line, std::string(what) + " '" + std::string(row.name) + "' " + wrong);
  }
}

ExpressionPtr Parser::parse_call(ExpressionPtr callee) {
  const int line = now().line;
  ExpressionPtr out = make(Kind::call, line, children_of(std::move(callee)));
  parse_arguments(*out);
  const Expression& function = *out->children[0];
  if (function.kind == Kind::name) {
    if (const FunctionRow* row = find_function(function.text)) {
      check_arguments(*out, *row, "the function", 1);
    } else {
      called_names_.emplace_back(function.text, line);
    }
  } else if (function.kind == Kind::attribute) {
    check_method(*out);
  } else {
    fail_at(line, "only functions, macros and methods can be called");
  }
  return out;
}

void Parser::check_method(const Expression& call) const {
  const std::string& name = call.children[0]->text;
  if (name == "cycle" || name == "changed") return;  // of the loop
  std::string wrong;
  bool known = false;
  for (const FunctionRow* row :
       {find_text_method(name), find_dict_method(name), find_list_method(name)}) {
    if (row == nullptr) continue;
    known = true;
    wrong = what_does_not_fit(*row, call.children.size() - 1, names_of(call));
    if (wrong.empty()) return;
  }
  fail_at(call.line,
          "the method '" + name.substr(0, 40) + "' " + (known ? wrong : "is not supported"));
}

ExpressionPtr Parser::parse_filter(ExpressionPtr input) {
  // The first filter of a filter block has no '|'.
  skip_op("|");
  const int line = now().line;
  const std::string name = expect_name("the filter's name");
  const FilterRow* row = find_filter(name);
  if (row == nullptr || is_op(".")) {
    fail_at(line, "the filter '" + name.substr(0, 40) + "' is not supported");
  }
  ExpressionPtr out = make(Kind::filter, line, children_of(std::move(input)), name);
  out->filter = row;
  if (is_op("(")) parse_arguments(*out);
  check_arguments(*out, *row, "the filter", 1);
  if (name == "safe") ++safe_filters_;
  // Names of filters and tests as texts.
  const size_t named_at = name == "map" || name == "select" || name == "reject" ? 1 : 2;
  if ((named_at == 1 || name == "selectattr" || name == "rejectattr") &&
      out->children.size() > named_at && out->children[named_at]->kind == Kind::constant) {
    const std::string inner = to_text(out->children[named_at]->value);
    if (name == "map" ? find_filter(inner) == nullptr : find_test(inner) == nullptr) {
      fail_at(line, "the filter '" + name + "' asks for '" + inner.substr(0, 40) +
                        "', which is not supported");
    }
  }
  return out;
}

ExpressionPtr Parser::parse_test(ExpressionPtr input) {
  const int line = tokens_[pos_++].line;
  const bool negated = skip_name("not");
  const std::string name = expect_name("the test's name");
  const TestRow* row = find_test(name);
  if (row == nullptr || is_op(".")) {
    fail_at(line, "the test '" + name.substr(0, 40) + "' is not supported");
  }
  ExpressionPtr out = make(Kind::test, line, children_of(std::move(input)), name);
  out->test = row;
  const Token::Kind kind = now().kind;
  const bool operand =
      kind == Token::Kind::string || kind == Token::Kind::integer || kind == Token::Kind::real ||
      is_op("[") || is_op("{") ||
      (kind == Token::Kind::name && !is_name("else") && !is_name("or") && !is_name("and"));
  if (is_op("(")) {
    parse_arguments(*out);
  } else if (operand) {
    if (is_name("is")) refuse("tests cannot be chained");
    // jinja2 takes any name for the operand; "if", "in" and "not" end the test there too.
    const Level level(*this);
    out->children.push_back(parse_postfix(parse_primary()));
    note_depth(*out);
  }
  check_arguments(*out, *row, "the test", 1);
  if (!negated) return out;
  return make(Kind::logical_not, line, children_of(std::move(out)));
}

}  // namespace pocket::jinja
