#include "postrec/random.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>

#include "philox.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kWordLimit = std::int64_t{1} << 32;
constexpr std::uint32_t kNormalDomain = 0, kUniformDomain = 1;

using Fill = void (*)(float*, std::int64_t, philox::Counter, philox::Key);

void check_word(std::int64_t value, const char* what) {
  if (value < 0 || value >= kWordLimit)
    throw Error(ErrorKind::kUsage, std::string(what) + " is " + std::to_string(value), "it must lie in [0, 2^32)");
}

// Fills rows [n_rows, n] : row r holds the stream of sample first_sample + r. The counter is (block, draw, sample, domain), the key is
// the seed, so that no two numbers ever share a block.
void fill_rows(at::Tensor& rows, Fill fill, std::uint64_t seed, std::int64_t first_sample, std::uint64_t draw, std::uint32_t domain) {
  constexpr std::int64_t kChunkGroups = 256;
  constexpr std::int64_t kChunk = kChunkGroups * philox::kGroupNumbers;
  const std::int64_t n_rows = rows.size(0), n = rows.size(1);
  if (n / 4 >= kWordLimit) throw Error(ErrorKind::kUsage, "a draw of " + std::to_string(n) + " numbers", "at most 2^34 fit in one draw");
  const philox::Key key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const std::int64_t n_chunks = (n + kChunk - 1) / kChunk;
  float* data = rows.data_ptr<float>();
  at::parallel_for(0, n_rows * n_chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / n_chunks, start = item % n_chunks * kChunk;
      const std::int64_t length = std::min(kChunk, n - start), full = length / philox::kGroupNumbers;
      float* out = data + row * n + start;
      philox::Counter counter = {static_cast<std::uint32_t>(start / 4), static_cast<std::uint32_t>(draw),
                                 static_cast<std::uint32_t>(first_sample + row), domain};
      fill(out, full, counter, key);
      const std::int64_t done = full * philox::kGroupNumbers;
      if (done == length) continue;
      counter[0] += static_cast<std::uint32_t>(done / 4);
      std::array<float, philox::kGroupNumbers> last;
      fill(last.data(), 1, counter, key);
      std::copy_n(last.begin(), length - done, out + done);
    }
  });
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

at::Tensor RandomStreams::normal(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::ScalarType dtype) const {
  check_word(static_cast<std::int64_t>(draw), "the draw");
  if (dtype != at::kFloat && dtype != at::kComplexFloat)
    throw Error(ErrorKind::kInternal, "normal numbers were asked for in a type that is not made", "ask for float32 or complex64");
  at::Tensor out = at::empty(with_batch(n_samples_, shape), at::TensorOptions().dtype(dtype));
  if (out.numel() == 0) return out;
  at::Tensor rows = (dtype == at::kComplexFloat ? at::view_as_real(out) : out).view({n_samples_, -1});
  fill_rows(rows, philox::fill_normal, seed_, first_sample_, draw, kNormalDomain);
  return out;
}

at::Tensor RandomStreams::uniform(std::uint64_t draw, const std::vector<std::int64_t>& shape) const {
  check_word(static_cast<std::int64_t>(draw), "the draw");
  at::Tensor out = at::empty(with_batch(n_samples_, shape), at::TensorOptions().dtype(at::kFloat));
  if (out.numel() == 0) return out;
  at::Tensor rows = out.view({n_samples_, -1});
  fill_rows(rows, philox::fill_uniform, seed_, first_sample_, draw, kUniformDomain);
  return out;
}

}  // namespace postrec
