#include "converter/quant/sites.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace pocket {
namespace {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

using PartKey = std::tuple<const void*, bool, int64_t, int64_t, float>;

// Two constants are the same when they lie in the same place of the file.
const void* identity(const ir::TensorData& data) {
  return data.quantised != nullptr ? static_cast<const void*>(data.quantised.get()) : data.bytes;
}

float factor_of(const Node& node, size_t part) {
  const auto given = node.attributes.find("factors");
  if (given == node.attributes.end()) return 1.0f;
  return std::get<std::vector<float>>(given->second).at(part);
}

class Uses {
 public:
  Uses(const Graph& graph, const std::vector<QuantWeight>& weights) : graph_(graph) {
    for (size_t i = 0; i < weights.size(); ++i) {
      std::vector<PartKey> key;
      for (const WeightPart& part : weights[i].source->parts()) {
        key.emplace_back(identity(part.data), part.transposed, part.first_row, part.rows,
                         part.factor);
      }
      index_.emplace(std::move(key), i);
    }
    found.resize(weights.size());
    for (const NodeId id : graph.order()) visit(id);
  }

  std::vector<std::vector<WeightUse>> found;

 private:
  void visit(NodeId id) {
    const Node& node = graph_.node(id);
    const bool linear = node.is("Linear", "pocket"), gated = node.is("GatedLinear", "pocket");
    if (linear) add_matrix(id, 3, node.inputs.size() - 3);
    if (gated) {
      add_matrix(id, 3, 1);
      add_matrix(id, 4, 1);
    }
    const size_t vectors = linear || gated ? 3 : node.inputs.size();
    for (size_t i = 0; i < vectors && i < node.inputs.size(); ++i) {
      const ValueId value = node.inputs[i];
      if (value == kAbsent || !graph_.value(value).constant) continue;
      const ir::TensorData& data = *graph_.value(value).constant;
      // As a vector, and as a table whose rows are looked up.
      add({PartKey(identity(data), false, 0, 1, 1.0f)}, {id, i, 1});
      if (data.shape.size() == 2 && data.shape[0] != 1) {
        add({PartKey(identity(data), false, 0, data.shape[0], 1.0f)}, {id, i, 1});
      }
    }
  }

  void add_matrix(NodeId id, size_t input, size_t count) {
    const Node& node = graph_.node(id);
    const std::vector<int64_t> transposed = node.integers("transposed");
    const std::vector<int64_t> first_row = node.integers("first_row"), rows = node.integers("rows");
    std::vector<PartKey> key;
    for (size_t i = input; i < input + count; ++i) {
      const auto& constant = graph_.value(node.inputs[i]).constant;
      if (!constant || i - 3 >= rows.size()) return;
      key.emplace_back(identity(*constant), transposed.at(i - 3) != 0, first_row.at(i - 3),
                       rows[i - 3], factor_of(node, i - 3));
    }
    add(key, {id, input, count});
  }

  void add(const std::vector<PartKey>& key, const WeightUse& use) {
    if (const auto known = index_.find(key); known != index_.end()) {
      found[known->second].push_back(use);
    }
  }

  const Graph& graph_;
  std::map<std::vector<PartKey>, size_t> index_;
};

class FoldFinder {
 public:
  FoldFinder(const Graph& graph, const std::vector<int>& layer_of,
             const std::vector<QuantWeight>& weights,
             const std::vector<std::vector<WeightUse>>& uses)
      : graph_(graph), layer_of_(layer_of), weights_(weights), uses_(uses) {
    for (size_t i = 0; i < uses.size(); ++i) {
      for (const WeightUse& use : uses[i]) by_input_[{use.node, use.input}] = i;
    }
  }

  std::optional<ScaleFold> find(const Site& site) const {
    const Node* maker = graph_.producer(site.input);
    if (maker == nullptr || maker->domain != "pocket" || !read_by_site_only(site)) return {};
    const NodeId id = graph_.value(site.input).producer;
    ScaleFold fold;
    fold.scales = site.columns;
    fold.sources.resize(static_cast<size_t>(site.columns));
    std::iota(fold.sources.begin(), fold.sources.end(), 0);
    bool done = false;
    if (maker->op == "Norm" && maker->outputs[0] == site.input) {
      done = divide_vector(id, 1, 0, site.columns, true, fold) &&
             divide_vector(id, 2, 0, site.columns, false, fold);
    } else if (maker->op == "GatedLinear") {
      done = same_layer(id, site) && divide_rows(id, 4, 2, 0, site.columns, fold);
    } else if (maker->op == "Linear") {
      done = same_layer(id, site) && keeps_scales(*maker) &&
             divide_rows(id, 3, 1, 0, site.columns, fold);
    } else if (maker->op == "Attention") {
      done = through_attention(*maker, site, fold);
    }
    if (!done) return {};
    return fold;
  }

 private:
  // Every reader is a linear of the site that multiplies the value, and each of its weights is
  // read nowhere else.
  bool read_by_site_only(const Site& site) const {
    if (graph_.is_output(site.input)) return false;
    std::vector<std::pair<NodeId, size_t>> owned;
    for (const size_t weight : site.weights) {
      if (uses_[weight].size() != 1) return false;
      owned.emplace_back(uses_[weight][0].node, uses_[weight][0].input);
    }
    for (const NodeId reader : graph_.consumers(site.input)) {
      const Node& node = graph_.node(reader);
      const bool gated = node.is("GatedLinear", "pocket");
      if (!gated && !node.is("Linear", "pocket")) return false;
      if (std::count(node.inputs.begin(), node.inputs.end(), site.input) != 1 ||
          node.inputs[0] != site.input) {
        return false;
      }
      for (size_t input = 3; input < (gated ? size_t{5} : size_t{4}); ++input) {
        if (std::find(owned.begin(), owned.end(), std::pair(reader, input)) == owned.end()) {
          return false;
        }
      }
    }
    return true;
  }

  // relu(a x) = a relu(x), so a scale passes.
  static bool keeps_scales(const Node& linear) {
    const std::string function = linear.text("activation", "none");
    return (function == "none" || function == "relu") && linear.inputs[2] == kAbsent;
  }

  bool same_layer(NodeId id, const Site& site) const {
    return layer_of_[static_cast<size_t>(id)] == site.layer;
  }

  std::optional<size_t> own_weight(NodeId id, size_t input) const {
    const auto known = by_input_.find({id, input});
    if (known == by_input_.end() || uses_[known->second].size() != 1) return {};
    if (weights_[known->second].keeps_codes) return {};
    return known->second;
  }

  // Entries [first, first + count) of the vector at an input; an absent one needs nothing unless
  // it is `needed`.
  bool divide_vector(NodeId id, size_t input, int64_t first, int64_t count, bool needed,
                     ScaleFold& fold) const {
    if (graph_.node(id).inputs.at(input) == kAbsent) return !needed;
    const auto weight = own_weight(id, input);
    if (!weight || weights_[*weight].source->rows() != 1 ||
        weights_[*weight].source->columns() < first + count) {
      return false;
    }
    fold.targets.push_back({*weight, false, first});
    return true;
  }

  bool divide_rows(NodeId id, size_t input, size_t bias, int64_t first, int64_t count,
                   ScaleFold& fold) const {
    const auto weight = own_weight(id, input);
    if (!weight || weights_[*weight].source->rows() < first + count) return false;
    fold.targets.push_back({*weight, true, first});
    return divide_vector(id, bias, first, count, false, fold);
  }

  // The values pass through attention in proportion: head h reads those of head h / (heads /
  // kv_heads), whose rows are divided once for all heads that share them.
  bool through_attention(const Node& attention, const Site& site, ScaleFold& fold) const {
    const ValueId values = attention.inputs[2];
    const Node* linear = graph_.producer(values);
    if (linear == nullptr || !linear->is("Linear", "pocket") || !keeps_scales(*linear) ||
        linear->text("activation", "none") != "none" || graph_.consumers(values).size() != 1) {
      return false;
    }
    const NodeId id = graph_.value(values).producer;
    const int64_t heads = attention.integer("heads", 0), width = attention.integer("head_dim", 0);
    const int64_t kv_heads = attention.integer("kv_heads", 0);
    if (kv_heads < 1 || heads * width != site.columns || !same_layer(id, site)) return false;
    const int64_t first = attention.integer("v_column", 0), count = kv_heads * width;
    const auto overlaps = [&](size_t input, const char* column, int64_t own_heads) {
      const int64_t from = attention.integer(column, 0);
      return attention.inputs[input] == values && from < first + count &&
             first < from + own_heads * width;
    };
    if (overlaps(0, "q_column", heads) || overlaps(1, "k_column", kv_heads)) return false;
    for (int64_t k = 0; k < site.columns; ++k) {
      fold.sources[static_cast<size_t>(k)] = k / width / (heads / kv_heads) * width + k % width;
    }
    fold.scales = count;
    return divide_rows(id, 3, 1, first, count, fold);
  }

  const Graph& graph_;
  const std::vector<int>& layer_of_;
  const std::vector<QuantWeight>& weights_;
  const std::vector<std::vector<WeightUse>>& uses_;
  std::map<std::pair<NodeId, size_t>, size_t> by_input_;
};

}  // namespace

std::vector<std::vector<WeightUse>> find_uses(const Graph& graph,
                                              const std::vector<QuantWeight>& weights) {
  return Uses(graph, weights).found;
}

void join_parts(Node& node, const WeightUse& use, int64_t rows) {
  const auto part = static_cast<ptrdiff_t>(use.input) - 3;
  const auto parts = static_cast<ptrdiff_t>(use.count);
  node.inputs.erase(node.inputs.begin() + part + 4, node.inputs.begin() + part + 3 + parts);
  const auto set = [&](const char* name, auto whole) {
    auto& list = std::get<std::vector<decltype(whole)>>(node.attributes.at(name));
    list.erase(list.begin() + part + 1, list.begin() + part + parts);
    list[static_cast<size_t>(part)] = whole;
  };
  set("transposed", int64_t{0});
  set("first_row", int64_t{0});
  set("rows", rows);
  if (node.attributes.contains("factors")) set("factors", 1.0f);
}

void put_codes(Graph& graph, const WeightUse& use, CodedWeight weight) {
  const auto rows = static_cast<int64_t>(weight.scales.size());
  const int64_t columns = static_cast<int64_t>(weight.codes.size()) / rows;
  Node& node = graph.node(use.node);
  node.inputs[use.input] = graph.add_constant(
      "codes", ir::TensorData::from_floats({rows, columns}, std::move(weight.codes)));
  join_parts(node, use, rows);
  // The scales of a gate lie before those of its up projection.
  const bool first = use.input == 3;
  std::vector<float> scales;
  if (const auto known = node.attributes.find("code_scales"); known != node.attributes.end()) {
    scales = std::get<std::vector<float>>(known->second);
  }
  scales.insert(first ? scales.begin() : scales.end(), weight.scales.begin(),
                weight.scales.end());
  node.attributes["code_scales"] = std::move(scales);
  node.attributes["act_scale"] = weight.act_scale;
  node.attributes["shadow"] = int64_t{weight.shadow};
}

std::vector<Site> find_sites(const Graph& graph, const std::vector<int>& layer_of,
                             const std::vector<QuantWeight>& weights,
                             const std::vector<std::vector<WeightUse>>& uses) {
  // Of each weight of few bits, the one linear that multiplies by it.
  std::map<std::pair<NodeId, size_t>, size_t> linears;
  for (size_t i = 0; i < weights.size(); ++i) {
    const WeightFormat& format = weights[i].format;
    const bool coded = format.four_bit() || format.encoding == Encoding::any ||
                       format.encoding == Encoding::w8a8;
    if (!coded || weights[i].keeps_codes) continue;
    std::vector<WeightUse> products;
    bool other = false;
    for (const WeightUse& use : uses[i]) {
      const Node& node = graph.node(use.node);
      if (node.is("Linear", "pocket") || node.is("GatedLinear", "pocket")) {
        products.push_back(use);
      } else if (!node.is("Embed", "pocket")) {
        other = true;
      }
    }
    if (products.size() == 1 && !other) linears[{products[0].node, products[0].input}] = i;
  }
  std::vector<Site> sites;
  std::map<std::pair<ValueId, int>, size_t> known;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    for (size_t input = 3; input < node.inputs.size(); ++input) {
      const auto linear = linears.find({id, input});
      if (linear == linears.end()) continue;
      const int layer = layer_of[static_cast<size_t>(id)];
      const auto [entry, fresh] = known.try_emplace({node.inputs[0], layer}, sites.size());
      if (fresh) {
        sites.push_back(
            {node.inputs[0], layer, weights[linear->second].source->columns(), {}, {}});
      }
      sites[entry->second].weights.push_back(linear->second);
    }
  }
  const FoldFinder folds(graph, layer_of, weights, uses);
  for (Site& site : sites) site.fold = folds.find(site);
  return sites;
}

}  // namespace pocket
