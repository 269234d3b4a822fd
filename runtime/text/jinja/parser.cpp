#include "runtime/text/jinja/parser.h"

#include <algorithm>
#include <array>

#include "runtime/text/jinja/builtins.h"
#include "runtime/text/jinja/parser_level.h"

namespace pocket::jinja {

namespace {

constexpr std::array<std::string_view, 14> kReserved = {"true", "false", "none", "True", "False",
                                                        "None", "not",   "and",  "or",   "if",
                                                        "else", "in",    "is",   "loop"};

std::unique_ptr<Statement> make_statement(Statement::Kind kind, int line) {
  auto out = std::make_unique<Statement>();
  out->kind = kind;
  out->line = line;
  return out;
}

}  // namespace

Statements parse(std::string_view source) {
  if (source.size() > kMaxTemplateBytes) {
    fail("has " + std::to_string(source.size()) + " bytes; at most 1048576 are supported");
  }
  return Parser(tokenize(source)).run();
}

Statements Parser::run() {
  Statements out = body_until({});
  check_calls();
  return out;
}

// Called names must be macros, functions or variables that the template sets.
void Parser::check_calls() const {
  for (const auto& [name, line] : called_names_) {
    if (known_names_.contains(name)) continue;
    fail_at(line, "the function '" + name + "' is not supported");
  }
}

bool Parser::skip_name(std::string_view text) {
  if (!is_name(text)) return false;
  ++pos_;
  return true;
}

bool Parser::skip_op(std::string_view text) {
  if (!is_op(text)) return false;
  ++pos_;
  return true;
}

void Parser::unexpected() const {
  const Token& token = now();
  switch (token.kind) {
    case Token::Kind::end:
      refuse("the template ends too early");
    case Token::Kind::block_end:
    case Token::Kind::variable_end:
      refuse("the tag ends too early");
    default:
      refuse("'" + token.text.substr(0, 40) + "' is not expected here");
  }
}

void Parser::expect_op(std::string_view text) {
  if (!skip_op(text)) unexpected();
}

std::string Parser::expect_name(const char* what) {
  if (now().kind != Token::Kind::name) refuse(std::string(what) + " is missing");
  return tokens_[pos_++].text;
}

void Parser::check_safe() const {
  if (safe_filters_ > 0) refuse("the filter 'safe' is supported only at the end of an output");
}

void Parser::end_block() {
  check_safe();
  if (now().kind != Token::Kind::block_end) unexpected();
  ++pos_;
}

// Statements up to a tag that begins with one of `ends`; that name is the current token then. No
// ends: up to the end of the template.
Statements Parser::body_until(std::initializer_list<std::string_view> ends) {
  const Level level(*this);
  Statements out;
  while (true) {
    switch (now().kind) {
      case Token::Kind::data: {
        auto text = make_statement(Statement::Kind::text, now().line);
        text->text = tokens_[pos_++].text;
        out.push_back(std::move(text));
        break;
      }
      case Token::Kind::variable_begin:
        output(out);
        break;
      case Token::Kind::block_begin: {
        ++pos_;
        if (now().kind != Token::Kind::name) refuse("the tag's name is missing");
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) return out;
        statement(out);
        end_block();
        break;
      }
      default:
        if (ends.size() != 0) {
          refuse("'" + std::string(*std::prev(ends.end())) + "' is missing at the end");
        }
        return out;
    }
  }
}

void Parser::output(Statements& out) {
  auto statement = make_statement(Statement::Kind::output, now().line);
  ++pos_;
  statement->expression = parse_tuple();
  // Text marked as safe behaves differently only when it goes on into another expression.
  if (statement->expression->kind == Kind::filter && statement->expression->text == "safe") {
    statement->expression = std::move(statement->expression->children[0]);
    --safe_filters_;
  }
  check_safe();
  if (now().kind != Token::Kind::variable_end) unexpected();
  ++pos_;
  out.push_back(std::move(statement));
}

void Parser::statement(Statements& out) {
  const std::string& name = now().text;
  if (name == "for") {
    parse_for(out);
  } else if (name == "if") {
    parse_if(out);
  } else if (name == "set") {
    parse_set(out);
  } else if (name == "macro") {
    parse_macro(out);
  } else if (name == "call") {
    parse_call_block(out);
  } else if (name == "filter") {
    parse_filter_block(out);
  } else if (name == "with") {
    parse_with(out);
  } else if (name == "generation") {
    auto made = make_statement(Statement::Kind::scope, now().line);
    ++pos_;
    end_block();
    ++inner_;
    const int loops = std::exchange(loops_, 0);
    made->body = body_until({"endgeneration"});
    loops_ = loops;
    --inner_;
    ++pos_;
    out.push_back(std::move(made));
  } else if (name == "break" || name == "continue") {
    if (loops_ == 0) refuse("'" + name + "' stands outside of a loop");
    out.push_back(make_statement(
        name == "break" ? Statement::Kind::leave_loop : Statement::Kind::next_round, now().line));
    ++pos_;
  } else {
    refuse("the tag '" + name.substr(0, 40) + "' is not supported");
  }
}

std::string Parser::parse_new_name() {
  const int line = now().line;
  std::string name = expect_name("a name to assign to");
  if (std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end()) {
    fail_at(line, "'" + name + "' cannot be assigned to");
  }
  if (find_function(name) != nullptr) {
    fail_at(line, "to redefine the function '" + name + "' is not supported");
  }
  known_names_.insert(name);
  return name;
}

Target Parser::parse_target(bool with_attribute) {
  Target out;
  const bool parentheses = skip_op("(");
  out.names.push_back(parse_new_name());
  if (with_attribute && !parentheses && skip_op(".")) {
    out.attribute = expect_name("the attribute's name");
    return out;
  }
  while (skip_op(",")) {
    out.tuple = true;
    if (now().kind != Token::Kind::name || is_name("in")) break;
    out.names.push_back(parse_new_name());
  }
  if (parentheses) expect_op(")");
  return out;
}

void Parser::parse_for(Statements& out) {
  auto made = make_statement(Statement::Kind::loop, now().line);
  ++pos_;
  made->target = parse_target(false);
  if (!skip_name("in")) refuse("'in' is missing in 'for'");
  made->expression = parse_tuple(/*with_conditional=*/false);
  if (skip_name("if")) made->condition = parse_expression();
  if (is_name("recursive")) refuse("a recursive loop is not supported");
  end_block();
  ++loops_, ++inner_;
  made->body = body_until({"else", "endfor"});
  --loops_;
  if (now().text == "else") {
    ++pos_;
    end_block();
    made->otherwise = body_until({"endfor"});
  }
  --inner_;
  ++pos_;
  out.push_back(std::move(made));
}

void Parser::parse_if(Statements& out) {
  auto made = make_statement(Statement::Kind::conditional, now().line);
  while (true) {
    ++pos_;
    ExpressionPtr condition = parse_tuple(/*with_conditional=*/false);
    end_block();
    Statements body = body_until({"elif", "else", "endif"});
    made->branches.push_back({std::move(condition), std::move(body)});
    if (now().text == "elif") continue;
    if (now().text == "else") {
      ++pos_;
      end_block();
      made->branches.push_back({nullptr, body_until({"endif"})});
    }
    break;
  }
  ++pos_;
  out.push_back(std::move(made));
}

void Parser::parse_set(Statements& out) {
  const int line = now().line;
  ++pos_;
  Target target = parse_target(true);
  if (skip_op("=")) {
    auto made = make_statement(Statement::Kind::assign, line);
    made->target = std::move(target);
    made->expression = parse_tuple();
    out.push_back(std::move(made));
    return;
  }
  auto made = make_statement(Statement::Kind::capture, line);
  if (target.tuple) refuse("'=' is missing in 'set'");
  made->target = std::move(target);
  made->filters = parse_filters(nullptr);
  end_block();
  ++inner_;
  const int loops = std::exchange(loops_, 0);
  made->body = body_until({"endset"});
  loops_ = loops;
  --inner_;
  ++pos_;
  out.push_back(std::move(made));
}

void Parser::parse_parameters(Statement& statement) {
  expect_op("(");
  while (!is_op(")")) {
    if (!statement.parameters.empty()) expect_op(",");
    if (is_op(")")) break;
    statement.parameters.push_back(parse_new_name());
    if (skip_op("=")) {
      statement.defaults.push_back(parse_expression());
    } else if (!statement.defaults.empty()) {
      refuse("a parameter without default comes after one with default");
    }
  }
  expect_op(")");
}

void Parser::parse_macro(Statements& out) {
  auto made = make_statement(Statement::Kind::macro, now().line);
  ++pos_;
  if (inner_ > 0) refuse("a macro inside of a loop, a macro or a block is not supported");
  made->text = parse_new_name();
  known_names_.insert("caller");
  parse_parameters(*made);
  end_block();
  ++inner_;
  const int loops = std::exchange(loops_, 0);
  made->body = body_until({"endmacro"});
  loops_ = loops;
  --inner_;
  ++pos_;
  out.push_back(std::move(made));
}

void Parser::parse_call_block(Statements& out) {
  auto made = make_statement(Statement::Kind::call, now().line);
  ++pos_;
  if (is_op("(")) parse_parameters(*made);
  made->expression = parse_expression();
  if (made->expression->kind != Kind::call || made->expression->children[0]->kind != Kind::name) {
    refuse("'call' needs the call of a macro");
  }
  end_block();
  ++inner_;
  const int loops = std::exchange(loops_, 0);
  made->body = body_until({"endcall"});
  loops_ = loops;
  --inner_;
  ++pos_;
  out.push_back(std::move(made));
}

void Parser::parse_filter_block(Statements& out) {
  auto made = make_statement(Statement::Kind::filtered, now().line);
  ++pos_;
  made->filters = parse_filters(parse_filter(nullptr));
  end_block();
  ++inner_;
  const int loops = std::exchange(loops_, 0);
  made->body = body_until({"endfilter"});
  loops_ = loops;
  --inner_;
  ++pos_;
  out.push_back(std::move(made));
}

void Parser::parse_with(Statements& out) {
  auto made = make_statement(Statement::Kind::scope, now().line);
  ++pos_;
  while (now().kind != Token::Kind::block_end) {
    if (!made->assignments.empty()) expect_op(",");
    Target target = parse_target(false);
    expect_op("=");
    ExpressionPtr value = parse_expression();
    made->assignments.emplace_back(std::move(target), std::move(value));
  }
  end_block();
  ++inner_;
  const int loops = std::exchange(loops_, 0);
  made->body = body_until({"endwith"});
  loops_ = loops;
  --inner_;
  ++pos_;
  out.push_back(std::move(made));
}

}  // namespace pocket::jinja
