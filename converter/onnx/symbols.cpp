#include "converter/onnx/symbols.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <optional>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

std::optional<std::string> bare_symbol(const Expr& dim) {
  const std::vector<std::string> symbols = dim.symbols();
  if (symbols.size() == 1 && dim == Expr::symbol(symbols[0])) return symbols[0];
  return std::nullopt;
}

// Substitutes symbols in all inputs at once; `roles` are given in the exporter's names, and the
// canonical names are entered last, so that an exporter's own "past" or "tokens" cannot clash.
class Unifier {
 public:
  explicit Unifier(ir::Graph& graph) : graph_(graph) {}

  void assign(const Expr& dim, const Expr& role) {
    const std::optional<std::string> symbol = bare_symbol(dim);
    if (symbol) roles_.emplace(*symbol, role);  // the first role of a symbol stays
  }

  Expr applied(Expr dim) const {
    // First to names that nobody uses, then to the roles: substitution must not cascade.
    for (const auto& [symbol, role] : roles_) {
      dim = dim.substitute(symbol, Expr::symbol(interim(symbol)));
    }
    for (const auto& [symbol, role] : roles_) dim = dim.substitute(interim(symbol), role);
    return dim;
  }

  void apply() {
    for (const ir::ValueId id : graph_.inputs) {
      ir::Value& input = graph_.value(id);
      if (!input.shape) continue;
      for (Expr& dim : *input.shape) dim = applied(dim);
    }
  }

 private:
  static std::string interim(const std::string& symbol) { return "interim_role_of_" + symbol; }

  ir::Graph& graph_;
  std::map<std::string, Expr> roles_;
};

// The ids: by their usual name, else the only integer matrix whose name says nothing else.
const ir::Value* find_ids(const ir::Graph& graph) {
  const ir::Value* other = nullptr;
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape || input.shape->size() != 2 || !ir::is_integer_type(input.type)) continue;
    if (input.name == "input_ids") return &input;
    const bool other_role = input.name.find("mask") != std::string::npos ||
                            input.name.find("position") != std::string::npos ||
                            input.name.find("type") != std::string::npos;
    if (!other_role && other == nullptr) other = &input;
  }
  return other;
}

}  // namespace

Expr dimension_expression(const std::string& dim_param) {
  if (dim_param.size() <= 256) {
    try {
      return Expr::parse(dim_param);
    } catch (const Error&) {
      // Not an expression: a name with other characters.
    }
  }
  std::string name;
  for (const char c : dim_param.substr(0, 64)) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) name = "dim_" + name;
  return Expr::symbol(name);
}

void unify_symbols(ir::Graph& graph, int64_t context, std::vector<std::string>& notes) {
  const Expr tokens = Expr::symbol("tokens"), past = Expr::symbol("past");
  Unifier unifier(graph);
  if (const ir::Value* ids = find_ids(graph)) {
    const std::vector<Expr>& shape = *ids->shape;
    if (shape[0].is_constant() && shape[0].constant() != 1) {
      fail("input \"" + ids->name + "\" has the fixed batch size " + shape[0].str() +
           " but only 1 is supported; export with a batch of 1 or a dynamic one.");
    }
    unifier.assign(shape[0], Expr(1));
    unifier.assign(shape[1], tokens);
  }
  const auto is_state = [&](ir::ValueId id) {
    return std::any_of(graph.states.begin(), graph.states.end(),
                       [id](const ir::StatePair& state) { return state.past == id; });
  };
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape || input.shape->empty() || !is_state(id)) continue;
    unifier.assign((*input.shape)[0], Expr(1));
    for (size_t d = 1; d < input.shape->size(); ++d) unifier.assign((*input.shape)[d], past);
  }
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape || input.shape->size() != 2) continue;
    const std::vector<Expr>& shape = *input.shape;
    if (input.name.find("mask") != std::string::npos) {
      unifier.assign(shape[0], Expr(1));
      unifier.assign(shape[1], graph.states.empty() ? tokens : past + tokens);
    } else if (input.name.find("position") != std::string::npos) {
      unifier.assign(shape[0], Expr(1));
      unifier.assign(shape[1], tokens);
    }
  }
  unifier.apply();
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape) continue;
    if (input.name.find("mask") != std::string::npos && input.shape->size() == 2 &&
        !graph.states.empty() && !((*input.shape)[1] == past + tokens)) {
      fail("input \"" + input.name + "\" has the length " + (*input.shape)[1].str() +
           " where the past and the new tokens together are needed; export with a mask of "
           "past_sequence_length + sequence_length.");
    }
    for (const Expr& dim : *input.shape) {
      for (const std::string& symbol : dim.symbols()) {
        if (graph.symbols.contains(symbol)) continue;
        if (symbol == "tokens") {
          graph.symbols[symbol] = {1, context};
        } else if (symbol == "past") {
          graph.symbols[symbol] = {0, context};
        } else {
          graph.symbols[symbol] = {0, std::numeric_limits<int32_t>::max()};
          notes.push_back("Dimension " + symbol + " of input \"" + input.name +
                          "\" has no known role.");
        }
      }
    }
  }
}

}  // namespace pocket::onnx_import
