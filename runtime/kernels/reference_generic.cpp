// Generic operators, step by step: one loop over the domain, every access checked.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/kernels/reference_generic_functions.h"
#include "runtime/kernels/reference_operators.h"

namespace pocket::host_reference {
namespace {

using Coordinates = std::array<int64_t, kGenericRank>;

// Where a view's element lies, under the bindings of the step.
struct Place {
  int64_t offset = 0;
  Coordinates strides{};
  int64_t at(const Coordinates& c, size_t rank) const {
    int64_t place = offset;
    for (size_t d = 0; d < rank; ++d) place += strides[d] * c[d];
    return place;
  }
};

class StepRun {
 public:
  StepRun(const Call& call, const GenericStep& step) : call_(call), step_(step) {
    rank_ = step.domain.size();
    outer_ = rank_ - static_cast<size_t>(step.inner);
    for (size_t d = 0; d < rank_; ++d) {
      extent_[d] = evaluate(step.domain[d]);
      (d < outer_ ? results_ : inner_) *= std::max<int64_t>(0, extent_[d]);
    }
    for (size_t i = 0; i < step.operands.size(); ++i) {
      places_[i] = place_of(step.operands[i]);
      if (step.operands[i].source == GenericSource::weight) {
        weights_[i] = call.vector(call.weight(static_cast<size_t>(step.operands[i].index)), 0, 0);
      }
    }
    out_place_ = place_of(step.out);
    const auto index = static_cast<size_t>(step.out.index);
    out_ = step.out.source == GenericSource::output ? call.output(index) : call.input(index);
    for (const Expr& scalar : step.scalars) scalars_.push_back(evaluate(scalar));
  }

  template <typename T>
  void run() {
    Coordinates c{};
    for (int64_t i = 0; i < results_; ++i) {
      decode(i, 0, outer_, c);
      one<T>(c);
    }
  }

 private:
  using F = GenericFunction;

  int64_t evaluate(const Expr& expr) const {
    const StepRecord& record = call_.state.record;
    return step_polynomial(expr, call_.state.bindings).evaluate(record.past, record.tokens);
  }

  Place place_of(const GenericOperand& operand) const {
    Place place;
    if (operand.source == GenericSource::number) return place;
    place.offset = evaluate(operand.offset);
    for (size_t d = 0; d < rank_; ++d) place.strides[d] = evaluate(operand.strides[d]);
    return place;
  }

  // The coordinates `first` to `last` of element `i` in row-major order.
  void decode(int64_t i, size_t first, size_t last, Coordinates& c) const {
    for (size_t d = last; d-- > first;) {
      c[d] = i % extent_[d];
      i /= extent_[d];
    }
  }

  [[noreturn]] void outside(int64_t at, size_t size) const {
    throw Error(ExitCode::bad_input, "generic operator '" + call_.op.name + "' reaches element " +
                                         std::to_string(at) + " of " + std::to_string(size) +
                                         "; convert the model again");
  }

  template <typename List>
  auto checked(const List& list, int64_t at) const {
    if (at < 0 || static_cast<size_t>(at) >= list.size()) outside(at, list.size());
    return list[static_cast<size_t>(at)];
  }

  // Operand i at element `at` of its source, as T.
  template <typename T>
  T load(size_t i, int64_t at) const {
    const GenericOperand& operand = step_.operands[i];
    switch (operand.source) {
      case GenericSource::number:
        return static_cast<T>(operand.number);
      case GenericSource::index:
        return static_cast<T>(at);
      case GenericSource::token_ids:
        return static_cast<T>(checked(call_.state.token_ids, at));
      case GenericSource::weight:
        return convert<T>(checked(weights_[i], at));
      default:
        break;
    }
    const TensorId id = call_.input(static_cast<size_t>(operand.index));
    const float stored = checked(call_.tensor(id), at);
    const bool integer = call_.program.tensors.at(static_cast<size_t>(id)).dtype == DType::i32;
    return integer ? static_cast<T>(std::bit_cast<int32_t>(stored)) : convert<T>(stored);
  }
  template <typename T>
  T load(size_t i, const Coordinates& c) const {
    return load<T>(i, places_[i].at(c, rank_));
  }

  template <typename T>
  void store(int64_t at, T value) const {
    std::vector<float>& values = call_.tensor(out_);
    if (at < 0 || static_cast<size_t>(at) >= values.size()) outside(at, values.size());
    const bool integer = call_.program.tensors.at(static_cast<size_t>(out_)).dtype == DType::i32;
    values[static_cast<size_t>(at)] =
        integer ? std::bit_cast<float>(convert_to_i32(value)) : static_cast<float>(value);
  }
  template <typename T>
  void store(const Coordinates& c, T value) const {
    store(out_place_.at(c, rank_), value);
  }

  template <typename T>
  void one(Coordinates& c) const {
    if (step_.function == F::gather || step_.function == F::scatter) return indexed<T>(c);
    if (step_.function == F::softmax || step_.function == F::log_softmax) return soft(c);
    if (step_.function == F::cumsum) return accumulate<T>(c);
    if (step_.function >= F::reduce_sum) return reduce<T>(c);
    switch (generic_operand_count(step_.function)) {
      case 1:
        return store(c, apply_unary<T>(step_.function, load<T>(0, c)));
      case 2:
        return store(c, apply_binary<T>(step_.function, load<T>(0, c), load<T>(1, c)));
      default:
        return store(c,
                     apply_ternary<T>(step_.function, load<T>(0, c), load<T>(1, c), load<T>(2, c)));
    }
  }

  template <typename T>
  void reduce(Coordinates& c) const {
    Reduction<T> result(step_.function);
    for (int64_t i = 0; i < inner_; ++i) {
      decode(i, outer_, rank_, c);
      const T a = load<T>(0, c);
      result.add(step_.function == F::dot ? a * load<T>(1, c) : a, i);
    }
    for (size_t d = outer_; d < rank_; ++d) c[d] = 0;
    store(c, result.result(inner_));
  }

  void soft(Coordinates& c) const {
    double highest = -std::numeric_limits<double>::infinity(), total = 0;
    const auto each = [&](auto&& visit) {
      for (int64_t i = 0; i < inner_; ++i) {
        decode(i, outer_, rank_, c);
        visit(load<double>(0, c));
      }
    };
    each([&](double x) { highest = std::max(highest, x); });
    each([&](double x) { total += std::exp(x - highest); });
    const bool log = step_.function == F::log_softmax;
    each([&](double x) {
      store(c, log ? x - highest - std::log(total) : std::exp(x - highest) / total);
    });
  }

  template <typename T>
  void accumulate(Coordinates& c) const {
    const bool exclusive = !scalars_.empty() && scalars_[0] != 0;
    T total = 0;
    for (int64_t i = 0; i < inner_; ++i) {
      c[outer_] = i;
      const T x = load<T>(0, c);
      if (exclusive) store(c, total);
      total += x;
      if (!exclusive) store(c, total);
    }
  }

  template <typename T>
  void indexed(const Coordinates& c) const {
    int64_t distance = 0;
    bool inside = true;
    for (size_t k = 0; 2 * k + 2 < scalars_.size(); ++k) {
      const int64_t length = scalars_[2 * k + 1];
      int64_t index = static_cast<int64_t>(
          load<double>(1, places_[1].at(c, rank_) + static_cast<int64_t>(k) * scalars_[0]));
      if (index < 0) index += length;
      inside = inside && index >= 0 && index < length;
      distance +=
          std::clamp<int64_t>(index, 0, std::max<int64_t>(0, length - 1)) * scalars_[2 * k + 2];
    }
    if (step_.function == F::gather) {
      store(c, load<T>(0, places_[0].at(c, rank_) + distance));
    } else if (inside) {
      store(out_place_.at(c, rank_) + distance, load<T>(0, c));
    }
  }

  const Call& call_;
  const GenericStep& step_;
  size_t rank_ = 0, outer_ = 0;
  Coordinates extent_{};
  int64_t results_ = 1, inner_ = 1;
  std::array<Place, kGenericOperands> places_;
  std::array<std::vector<float>, kGenericOperands> weights_;
  Place out_place_;
  TensorId out_ = kNone;
  std::vector<int64_t> scalars_;
};

}  // namespace

void generic(const Call& call) {
  for (const GenericStep& step : call.op.steps) {
    StepRun run(call, step);
    if (step.compute == DType::i32) {
      run.run<int64_t>();
    } else {
      run.run<double>();
    }
  }
}

}  // namespace pocket::host_reference
