#include "postrec/random.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>

#include "philox.hpp"
#include "postrec/error.hpp"
#include "random_device.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kWordLimit = std::int64_t{1} << 32;

/// One kind of number: how the host makes it, and a device.
struct Kind {
  void (*on_host)(float*, std::int64_t, philox::Counter, philox::Key);
  void (*philox::DeviceFill::* on_device)(const philox::Rows&, void*);
  std::uint32_t domain;
};

constexpr Kind kNormal = {philox::fill_normal, &philox::DeviceFill::normal, 0}, kUniform = {philox::fill_uniform, &philox::DeviceFill::uniform, 1};

void check_word(std::int64_t value, const char* what) {
  if (value < 0 || value >= kWordLimit)
    throw Error(ErrorKind::kUsage, std::string(what) + " is " + std::to_string(value), "it must lie in [0, 2^32)");
}

void fill_on_host(const philox::Rows& rows, const Kind& kind) {
  constexpr std::int64_t kChunkGroups = 256;
  constexpr std::int64_t kChunk = kChunkGroups * philox::kGroupNumbers;
  const std::int64_t n_chunks = (rows.n + kChunk - 1) / kChunk;
  at::parallel_for(0, rows.n_rows * n_chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / n_chunks, start = item % n_chunks * kChunk;
      const std::int64_t length = std::min(kChunk, rows.n - start), full = length / philox::kGroupNumbers;
      const philox::Key key = {rows.key[0], rows.key[1]};
      float* out = rows.numbers + row * rows.n + start;
      philox::Counter counter = {static_cast<std::uint32_t>(start / 4), rows.draw, static_cast<std::uint32_t>(rows.first_sample + row), rows.domain};
      kind.on_host(out, full, counter, key);
      const std::int64_t done = full * philox::kGroupNumbers;
      if (done == length) continue;
      counter[0] += static_cast<std::uint32_t>(done / 4);
      std::array<float, philox::kGroupNumbers> last;
      kind.on_host(last.data(), 1, counter, key);
      std::copy_n(last.begin(), length - done, out + done);
    }
  });
}

void fill_on_device(const philox::Rows& rows, const Kind& kind, const philox::DeviceFill& fill, at::Device device) {
  const c10::OptionalDeviceGuard guard(device);
  // Only CUDA has streams here; a device that tests make up has none.
  (fill.*kind.on_device)(rows, device.is_cuda() ? c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle() : nullptr);
}

/// Numbers of one kind, made where they belong if that is known how, or else on the host and copied.
at::Tensor draw_numbers(const std::vector<std::int64_t>& sizes, at::ScalarType dtype, at::Device device, const Kind& kind, std::uint64_t seed,
                        std::int64_t first_sample, std::uint64_t draw) {
  check_word(static_cast<std::int64_t>(draw), "the draw");
  const philox::DeviceFill* fill = device.is_cpu() ? nullptr : philox::device_fill(device.type());
  at::Tensor out = at::empty(sizes, at::TensorOptions().dtype(dtype).device(fill ? device : at::kCPU));
  if (out.numel() == 0) return out.to(device);
  const at::Tensor rows = (out.is_complex() ? at::view_as_real(out) : out).view({sizes[0], -1});
  const std::int64_t n = rows.size(1);
  if (n / 4 >= kWordLimit) throw Error(ErrorKind::kUsage, "a draw of " + std::to_string(n) + " numbers", "at most 2^34 fit in one draw");
  const philox::Rows task = {rows.mutable_data_ptr<float>(), sizes[0], n, {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
                             static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(first_sample), kind.domain};
  if (!fill) {
    fill_on_host(task, kind);
    return out.to(device);
  }
  fill_on_device(task, kind, *fill, out.device());
  return out;
}

std::vector<std::int64_t> with_batch(std::int64_t n_samples, const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> sizes = {n_samples};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return sizes;
}

}  // namespace

RandomStreams::RandomStreams(std::uint64_t seed, std::int64_t first_sample, std::int64_t n_samples)
    : seed_(seed), first_sample_(first_sample), n_samples_(n_samples) {
  check_word(n_samples, "the number of streams");
  check_word(first_sample, "the first sample");
  check_word(first_sample + n_samples, "the last sample");
}

at::Tensor RandomStreams::normal(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::ScalarType dtype, at::Device device) const {
  if (dtype != at::kFloat && dtype != at::kComplexFloat)
    throw Error(ErrorKind::kInternal, "normal numbers were asked for in a type that is not made", "ask for float32 or complex64");
  return draw_numbers(with_batch(n_samples_, shape), dtype, device, kNormal, seed_, first_sample_, draw);
}

at::Tensor RandomStreams::uniform(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::Device device) const {
  return draw_numbers(with_batch(n_samples_, shape), at::kFloat, device, kUniform, seed_, first_sample_, draw);
}

at::Tensor RandomStreams::signs(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::Device device) const {
  return uniform(draw, shape, device).lt(0.5f).to(at::kFloat).mul(2.0f).sub(1.0f);
}

}  // namespace postrec
