#include "runtime/program/json_generic.h"

#include <cmath>
#include <limits>

namespace pocket {
namespace {

using nlohmann::json;

// As an extent, but it may be negative.
Expr place_from_json(const JsonView& in) {
  try {
    return in.value().is_string() ? Expr::parse(in.text()) : Expr(in.integer(INT32_MIN, INT32_MAX));
  } catch (const Error& error) {
    in.fail(std::string("is no offset (") + error.what() + ")");
  }
}

// JSON has no infinity, masks do.
json number_to_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double number_from_json(const JsonView& in) {
  if (!in.value().is_string()) return in.real();
  const std::string text = in.text();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  in.fail("is no number");
}

json places_to_json(const std::vector<Expr>& list) {
  json out = json::array();
  for (const Expr& expr : list) out.push_back(expression_to_json(expr));
  return out;
}

std::vector<Expr> places_from_json(const JsonView& in) {
  std::vector<Expr> list;
  for (const JsonView& item : in.list()) list.push_back(place_from_json(item));
  return list;
}

json operand_to_json(const GenericOperand& operand) {
  json out = {{"source", generic_source_name(operand.source)}};
  if (operand.source == GenericSource::number) {
    out["number"] = number_to_json(operand.number);
    return out;
  }
  if (operand.index != 0) out["index"] = operand.index;
  if (!(operand.offset == Expr(0))) out["offset"] = expression_to_json(operand.offset);
  out["strides"] = places_to_json(operand.strides);
  return out;
}

GenericOperand operand_from_json(const JsonView& in) {
  in.keys({"source", "number", "index", "offset", "strides"});
  GenericOperand operand;
  operand.source = in["source"].one_of(generic_source_name, GenericSource::number);
  if (in.has("number")) operand.number = number_from_json(in["number"]);
  if (in.has("index")) operand.index = in["index"].integer32(0);
  if (in.has("offset")) operand.offset = place_from_json(in["offset"]);
  if (in.has("strides")) operand.strides = places_from_json(in["strides"]);
  return operand;
}

}  // namespace

json expression_to_json(const Expr& expr) {
  if (expr.is_constant()) return expr.constant();
  return expr.str();
}

Expr expression_from_json(const JsonView& in) {
  try {
    return in.value().is_string() ? Expr::parse(in.text()) : Expr(in.integer(0, INT64_MAX));
  } catch (const Error& error) {
    in.fail(std::string("is no size (") + error.what() + ")");
  }
}

json generic_steps_to_json(const std::vector<GenericStep>& steps) {
  json out = json::array();
  for (const GenericStep& step : steps) {
    json item = {{"function", generic_function_name(step.function)},
                 {"domain", places_to_json(step.domain)},
                 {"out", operand_to_json(step.out)}};
    if (step.compute != DType::f32) item["compute"] = dtype_name(step.compute);
    if (step.inner != 0) item["inner"] = step.inner;
    item["operands"] = json::array();
    for (const GenericOperand& operand : step.operands) {
      item["operands"].push_back(operand_to_json(operand));
    }
    if (!step.scalars.empty()) item["scalars"] = places_to_json(step.scalars);
    out.push_back(std::move(item));
  }
  return out;
}

std::vector<GenericStep> generic_steps_from_json(const JsonView& in) {
  std::vector<GenericStep> steps;
  for (const JsonView& item : in.list()) {
    item.keys({"function", "compute", "domain", "inner", "out", "operands", "scalars"});
    GenericStep step;
    step.function = item["function"].one_of(generic_function_name, kLastGenericFunction);
    if (item.has("compute")) step.compute = item["compute"].one_of(dtype_name, DType::i32);
    step.domain = places_from_json(item["domain"]);
    if (item.has("inner")) step.inner = item["inner"].integer32(0);
    step.out = operand_from_json(item["out"]);
    for (const JsonView& operand : item["operands"].list()) {
      step.operands.push_back(operand_from_json(operand));
    }
    if (item.has("scalars")) step.scalars = places_from_json(item["scalars"]);
    steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace pocket
