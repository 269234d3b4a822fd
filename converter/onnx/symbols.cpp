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

// Gives dimensions their roles. What the exporter declared is a hint: a plain symbol is replaced
// wherever inputs use it; a dimension whose hint contradicts its role gets the role, with a note.
class Unifier {
 public:
  Unifier(ir::Graph& graph, std::vector<std::string>& notes) : graph_(graph), notes_(notes) {}

  void assign(ir::ValueId input, size_t dim, const Expr& role) {
    const Expr& declared = (*graph_.value(input).shape)[dim];
    const std::optional<std::string> symbol = bare_symbol(declared);
    if (symbol) roles_.emplace(*symbol, role);  // the first role of a symbol stays
    wanted_.push_back({input, dim, role});
  }

  void apply() {
    for (const ir::ValueId id : graph_.inputs) {
      ir::Value& input = graph_.value(id);
      if (!input.shape) continue;
      for (Expr& dim : *input.shape) dim = applied(dim);
    }
    for (const auto& [id, dim, role] : wanted_) {
      ir::Value& input = graph_.value(id);
      Expr& made = (*input.shape)[dim];
      if (made == role) continue;
      notes_.push_back("Input \"" + input.name + "\" declares its dimension " +
                       std::to_string(dim) + " as " + made.str() + "; it is taken as " +
                       role.str() + ".");
      made = role;
    }
  }

 private:
  struct Wanted {
    ir::ValueId input;
    size_t dim;
    Expr role;
  };

  Expr applied(Expr dim) const {
    // First to names that nobody uses, then to the roles: substitution must not cascade.
    for (const auto& [symbol, role] : roles_) {
      dim = dim.substitute(symbol, Expr::symbol(interim(symbol)));
    }
    for (const auto& [symbol, role] : roles_) dim = dim.substitute(interim(symbol), role);
    return dim;
  }

  static std::string interim(const std::string& symbol) { return "interim_role_of_" + symbol; }

  ir::Graph& graph_;
  std::vector<std::string>& notes_;
  std::map<std::string, Expr> roles_;
  std::vector<Wanted> wanted_;
};

void check_batch(const ir::Value& input, const Expr& batch) {
  if (!batch.is_constant() || batch.constant() == 1) return;
  fail("input \"" + input.name + "\" has the fixed batch size " + batch.str() +
       " but only 1 is supported; export with a batch of 1 or a dynamic one.");
}

// Of several dimensions that are no numbers, the one that counts past rows: by its name, else the
// last but one.
size_t past_dimension(const std::vector<Expr>& shape, const std::vector<size_t>& candidates) {
  for (const char* word : {"past", "seq", "len"}) {
    for (const size_t d : candidates) {
      if (shape[d].str().find(word) != std::string::npos) return d;
    }
  }
  for (const size_t d : candidates) {
    if (d + 2 == shape.size()) return d;
  }
  return candidates.front();
}

// The dimensions of a state: the batch is the one named like that of the ids, else the first; the
// past is another one that is no number, or one of 0 (an empty past).
void assign_state(Unifier& unifier, const ir::Graph& graph, ir::ValueId id,
                  const std::optional<Expr>& ids_batch) {
  const std::vector<Expr>& shape = *graph.value(id).shape;
  const bool packed = shape.size() == 5 && shape[0] == Expr(2);
  size_t batch = packed ? 1 : 0;
  bool named = false;
  for (size_t d = 0; d < shape.size() && !named; ++d) {
    named = ids_batch && !ids_batch->is_constant() && shape[d] == *ids_batch;
    if (named) batch = d;
  }
  if (!named && shape[batch].is_constant()) check_batch(graph.value(id), shape[batch]);
  std::vector<size_t> candidates;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (d == batch && !(shape[d] == Expr(0)))
      unifier.assign(id, d, Expr(1));
    else if (!shape[d].is_constant() || shape[d] == Expr(0))
      candidates.push_back(d);
  }
  if (!candidates.empty()) {
    unifier.assign(id, past_dimension(shape, candidates), Expr::symbol("past"));
  }
}

// The ids: by their usual name, else the only integer matrix whose name says nothing else.
ir::ValueId find_ids(const ir::Graph& graph) {
  ir::ValueId other = ir::kAbsent;
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape || input.shape->size() != 2 || !ir::is_integer_type(input.type)) continue;
    if (input.name == "input_ids") return id;
    const bool other_role = input.name.find("mask") != std::string::npos ||
                            input.name.find("position") != std::string::npos ||
                            input.name.find("type") != std::string::npos;
    if (!other_role && other == ir::kAbsent) other = id;
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
  const Expr past = Expr::symbol("past");
  Expr tokens = Expr::symbol("tokens");
  Unifier unifier(graph, notes);
  std::optional<Expr> batch;
  const ir::ValueId ids = find_ids(graph);
  if (ids != ir::kAbsent) {
    const std::vector<Expr>& shape = *graph.value(ids).shape;
    check_batch(graph.value(ids), shape[0]);
    batch = shape[0];
    unifier.assign(ids, 0, Expr(1));
    if (shape[1].is_constant())
      tokens = shape[1];  // a graph for one length
    else
      unifier.assign(ids, 1, tokens);
  }
  const auto is_state = [&](ir::ValueId id) {
    return std::any_of(graph.states.begin(), graph.states.end(),
                       [id](const ir::StatePair& state) { return state.past == id; });
  };
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (input.shape && !input.shape->empty() && is_state(id)) {
      assign_state(unifier, graph, id, batch);
    }
  }
  const Expr total = graph.states.empty() ? tokens : past + tokens;
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape || id == ids || is_state(id)) continue;
    const std::vector<Expr>& shape = *input.shape;
    const bool mask = input.name.find("mask") != std::string::npos;
    const bool positions = input.name.find("position") != std::string::npos;
    if (shape.size() == 2 && (mask || positions)) {
      unifier.assign(id, 0, Expr(1));
      unifier.assign(id, 1, mask ? total : tokens);
    } else if (shape.size() == 4 && mask) {  // [batch, 1, tokens, past + tokens]
      unifier.assign(id, 0, Expr(1));
      unifier.assign(id, 2, tokens);
      unifier.assign(id, 3, total);
    }
  }
  unifier.apply();
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (!input.shape) continue;
    for (const Expr& dim : *input.shape) {
      for (const std::string& symbol : dim.symbols()) {
        if (graph.symbols.contains(symbol)) continue;
        if (symbol == "tokens") {
          graph.symbols[symbol] = {1, context};
        } else if (symbol == "past") {
          graph.symbols[symbol] = {0, context};
        } else {
          graph.symbols[symbol] = {0, std::numeric_limits<int32_t>::max()};
          if (is_state(id)) continue;  // settle_states() finds a number for it
          notes.push_back("Dimension " + symbol + " of input \"" + input.name +
                          "\" has no known role.");
        }
      }
    }
  }
}

}  // namespace pocket::onnx_import
