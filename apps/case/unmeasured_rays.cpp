#include "case/unmeasured_rays.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace postrec {
namespace {

/// Fills what is missing along the first axis of y [n, m]: `present` are the places that are not, in order.
void fill_between(const at::Tensor& y, const std::vector<std::int64_t>& present) {
  const std::int64_t n = y.size(0);
  if (present.empty()) return;
  for (std::int64_t i = 0; i < present.front(); ++i) y[i].copy_(y[present.front()]);
  for (std::int64_t i = present.back() + 1; i < n; ++i) y[i].copy_(y[present.back()]);
  for (std::size_t k = 1; k < present.size(); ++k)
    for (std::int64_t begin = present[k - 1], end = present[k], i = begin + 1; i < end; ++i)
      y[i].copy_(at::lerp(y[begin], y[end], static_cast<double>(i - begin) / static_cast<double>(end - begin)));
}

std::vector<std::int64_t> places(const at::Tensor& flags) {
  const at::Tensor found = flags.nonzero().view({-1}).contiguous();
  return {found.data_ptr<std::int64_t>(), found.data_ptr<std::int64_t>() + found.numel()};
}

}  // namespace

at::Tensor fill_unmeasured_rays(const at::Tensor& y, const at::Tensor& measured) {
  const at::Tensor there = measured.cpu();
  if (there.all().item<bool>()) return y;
  const at::Tensor filled = y.cpu().clone();
  for (std::int64_t view = 0; view < filled.size(0); ++view)
    if (!there[view].all().item<bool>()) fill_between(filled[view].unsqueeze(1), places(there[view]));
  fill_between(filled, places(there.any(1)));
  return filled.to(y.device());
}

}  // namespace postrec
