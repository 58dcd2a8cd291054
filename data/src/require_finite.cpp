#include "require_finite.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace postrec {

Error not_finite(const std::string& source, std::uint64_t n_bad, const std::vector<std::uint64_t>& first_index) {
  std::string index;
  for (const std::uint64_t i : first_index) index += (index.empty() ? "" : ", ") + std::to_string(i);
  return Error(ErrorKind::kBadData, source + " has " + std::to_string(n_bad) + " values that are not finite, the first at [" + index + "]",
               "replace NaN and infinity by numbers");
}

void require_finite(const at::Tensor& values, const std::string& source) {
  const at::Tensor real = (values.is_complex() ? at::view_as_real(values) : values).to(at::kFloat).contiguous();
  const float* data = real.data_ptr<float>();
  std::int64_t n_bad = 0, first = 0;
  for (std::int64_t i = 0; i < real.numel(); ++i)
    if (!std::isfinite(data[i]) && n_bad++ == 0) first = i;
  if (n_bad == 0) return;
  if (values.is_complex()) first /= 2;
  std::vector<std::uint64_t> index(static_cast<std::size_t>(values.dim()));
  for (std::int64_t axis = values.dim() - 1; axis >= 0; --axis) {
    index[static_cast<std::size_t>(axis)] = static_cast<std::uint64_t>(first % values.size(axis));
    first /= values.size(axis);
  }
  throw not_finite(source, static_cast<std::uint64_t>(n_bad), index);
}

}  // namespace postrec
