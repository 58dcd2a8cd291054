#include "postrec/spectral_noise.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "spectral_transform.hpp"
#include "spectrum_table.hpp"

namespace postrec {
namespace {

/// Averages over bands that overlap as hats: a value between two centres counts for both.
class BandAverages {
 public:
  void add(double frequency, double value) {
    constexpr auto kLast = static_cast<double>(SpectralNoise::kBands - 1);
    const double position = std::min(std::sqrt(2.0 * frequency), 1.0) * kLast;
    const auto below = static_cast<std::int64_t>(std::min(position, kLast - 1.0));
    const double share = position - static_cast<double>(below);
    add_to(below, 1.0 - share, value);
    add_to(below + 1, share, value);
  }

  void write(float* out) const {
    for (std::int64_t band = 0; band < SpectralNoise::kBands; ++band)
      out[band] = weights_[band] > 0.0 ? static_cast<float>(sums_[band] / weights_[band]) : 0.0F;
  }

 private:
  void add_to(std::int64_t band, double weight, double value) {
    weights_[band] += weight;
    sums_[band] += weight * value;
  }

  std::array<double, SpectralNoise::kBands> sums_{}, weights_{};
};

double mean_of(const float* values, std::int64_t n) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) sum += values[i];
  return sum / static_cast<double>(n);
}

}  // namespace

SpectralNoise::SpectralNoise(SpectralBasis basis, at::Tensor variance) : basis_(basis), variance_(std::move(variance)) {
  if (variance_.scalar_type() != at::kFloat || variance_.dim() != 4 || variance_.numel() == 0)
    throw Error(ErrorKind::kBadData, "the spectrum of a noise is not float32 [N, C, H, W]", "give one table, or one a sample");
  if (!variance_.gt(0.0).all().item<bool>() || !at::isfinite(variance_).all().item<bool>())
    throw Error(ErrorKind::kBadData, "the spectrum of a noise holds a number that is not positive or not finite", "give variances");
  natural_ = to_natural_order(basis_, variance_);

  // Plain loops in double: these numbers steer every pixel, so their bits must not depend on batch or threads.
  const at::Tensor table = variance_.cpu().contiguous();
  const std::int64_t n_tables = table.size(0), channels = table.size(1), height = table.size(2), width = table.size(3), n = channels * height * width;
  const std::vector<double> rows = axis_frequencies(basis_, height), columns = axis_frequencies(basis_, width);
  at::Tensor level = at::empty({n_tables}, at::kFloat), summary = at::empty({n_tables, kSummarySize}, at::kFloat);
  for (std::int64_t i = 0; i < n_tables; ++i) {
    const float* v = table.const_data_ptr<float>() + i * n;
    const double mean = mean_of(v, n);
    std::array<BandAverages, 3> bands;
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x) {
          const double value = std::log(*v++ / mean) / 4.0;
          bands[0].add(std::hypot(rows[y], columns[x]), value);
          bands[1].add(std::abs(rows[y]), value);
          bands[2].add(std::abs(columns[x]), value);
        }
    level.data_ptr<float>()[i] = static_cast<float>(std::sqrt(mean));
    for (std::int64_t k = 0; k < 3; ++k) bands[k].write(summary.data_ptr<float>() + i * kSummarySize + k * kBands);
  }
  level_ = level.to(variance_.device());
  summary_ = summary.to(variance_.device());
}

at::Tensor SpectralNoise::from_white(const at::Tensor& white) const {
  const at::Tensor scale = natural_.sqrt();
  const at::Tensor shaped = white.is_complex() ? at::view_as_complex(real_view(white) * scale.unsqueeze(-1)) : white * scale;
  return from_natural_basis(basis_, shaped);
}

}  // namespace postrec
