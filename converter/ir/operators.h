// The table of ONNX operators that the converter understands: facts only. The functions that go
// with a row are listed explicitly in shape/rules.cpp (symbolic shape) and reference/registry.cpp
// (float value); test/ir proves that no row lacks one.
#pragma once

#include <span>
#include <string_view>

#include "converter/ir/graph.h"

namespace pocket::ir {

// A shape-computing operator can work on integer elements known in symbols and then vanishes; a
// tensor-computing one stays in the program and gets a shape.
enum class OperatorClass : uint8_t { shape_computing, tensor_computing };

struct OperatorInfo {
  const char* domain;
  const char* op;
  OperatorClass kind;
  int min_inputs, max_inputs;  // max -1: any number
  int min_outputs, max_outputs;
};

std::span<const OperatorInfo> operators();
const OperatorInfo* find_operator(std::string_view domain, std::string_view op);  // null: unknown

// Throws Error(bad_input) naming the node when its number of inputs or outputs is impossible.
void check_arity(const OperatorInfo&, const Node&);

}  // namespace pocket::ir
