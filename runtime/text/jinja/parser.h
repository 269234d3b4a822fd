// Tokens -> a parsed template, by the grammar of jinja2. What this program does not know is refused
// by name: tags, filters, tests, methods, functions.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/lexer.h"

namespace pocket::jinja {

// source must be valid UTF-8. Error bad_input with the line and the name of what is refused.
Statements parse(std::string_view source);

inline constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
inline constexpr int kMaxNesting = 100;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Statements run();

 private:
  using Kind = Expression::Kind;

  // parser.cpp: statements
  Statements body_until(std::initializer_list<std::string_view> ends);
  void statement(Statements& out);
  void parse_for(Statements& out);
  void parse_if(Statements& out);
  void parse_set(Statements& out);
  void parse_macro(Statements& out);
  void parse_call_block(Statements& out);
  void parse_filter_block(Statements& out);
  void parse_with(Statements& out);
  void parse_parameters(Statement& statement);
  std::string parse_new_name();
  Target parse_target(bool with_attribute);
  void end_block();
  void check_safe() const;
  void output(Statements& out);
  void check_calls() const;

  // parser_expression.cpp: expressions, loosest binding first
  ExpressionPtr parse_tuple(bool with_conditional = true);
  ExpressionPtr parse_expression(bool with_conditional = true);
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filter);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_postfix(ExpressionPtr object);
  ExpressionPtr parse_filters(ExpressionPtr input);
  ExpressionPtr parse_filter(ExpressionPtr input);
  ExpressionPtr parse_test(ExpressionPtr input);
  ExpressionPtr parse_subscript(ExpressionPtr object);
  ExpressionPtr parse_call(ExpressionPtr callee);
  void parse_arguments(Expression& call);
  ExpressionPtr parse_bracketed(Kind kind, std::string_view close);
  ExpressionPtr parse_dict();
  void check_method(const Expression& call) const;
  void check_arguments(const Expression& call, const FunctionRow& row, const char* what,
                       size_t skip) const;

  // Makes a node and refuses trees that are too deep to walk.
  ExpressionPtr make(Kind kind, int line, std::vector<ExpressionPtr> children,
                     std::string text = {}) const;
  void note_depth(Expression& node) const;
  // Counts one more level of recursion while it lives.
  class Level;

  const Token& now() const { return tokens_[pos_]; }
  const Token& ahead() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  bool is_name(std::string_view text) const {
    return now().kind == Token::Kind::name && now().text == text;
  }
  bool is_op(std::string_view text) const {
    return now().kind == Token::Kind::op && now().text == text;
  }
  bool skip_name(std::string_view text);
  bool skip_op(std::string_view text);
  void expect_op(std::string_view text);
  std::string expect_name(const char* what);
  [[noreturn]] void refuse(const std::string& what) const { fail_at(now().line, what); }
  [[noreturn]] void unexpected() const;

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int level_ = 0;
  int loops_ = 0;         // loops around in this macro or template
  int inner_ = 0;         // loops, macros and other blocks with names of their own around
  int safe_filters_ = 0;  // of the tag that is being read
  std::set<std::string, std::less<>> known_names_;  // assigned somewhere, or given to templates
  std::vector<std::pair<std::string, int>> called_names_;
};

}  // namespace pocket::jinja
