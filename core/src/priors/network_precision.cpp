#include "postrec/network_precision.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace postrec {
namespace {

// The sum carries into the exponent where it must, up to that of infinity; numbers below the normal ones have the same last place as the smallest of those.
float nearest_tf32(float x) {
  constexpr std::uint32_t kDropped = 13, kMask = (1u << kDropped) - 1;
  if (std::isnan(x)) return x;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t last_kept = bits >> kDropped & 1u;
  return std::bit_cast<float>((bits + kMask / 2 + last_kept) & ~kMask);
}

at::Tensor nearest_tf32(const at::Tensor& x) {
  const at::Tensor source = x.is_non_overlapping_and_dense() ? x : x.contiguous();
  at::Tensor result = at::empty_like(source);
  const float* from = source.const_data_ptr<float>();
  float* to = result.data_ptr<float>();
  for (std::int64_t i = 0; i < source.numel(); ++i) to[i] = nearest_tf32(from[i]);
  return result;
}

}  // namespace

const char* precision_name(NetworkPrecision precision) {
  return precision == NetworkPrecision::kFloat32 ? "float32" : precision == NetworkPrecision::kTf32 ? "tf32" : "bfloat16";
}

at::Tensor rounded(const at::Tensor& x, NetworkPrecision precision) {
  if (precision == NetworkPrecision::kFloat32) return x;
  const at::Tensor values = x.detach(), nearest = precision == NetworkPrecision::kTf32 ? nearest_tf32(values.cpu()).to(x.device()) : values.to(at::kBFloat16).to(at::kFloat);
  return x.requires_grad() ? x + (nearest - values) : nearest;
}

}  // namespace postrec
