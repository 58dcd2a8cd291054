#include "training/denoising_check.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kCrops = 6, kLargestCrop = 128;
constexpr double kSigmas[] = {0.02, 0.1, 0.5, 2.0};

at::Tensor middle(const at::Tensor& image, std::int64_t height, std::int64_t width) {
  return image.narrow(1, (image.size(1) - height) / 2, height).narrow(2, (image.size(2) - width) / 2, width);
}

}  // namespace

std::vector<at::Tensor> spread_images(const std::vector<TrainingSlice>& slices, std::int64_t at_most, bool is_complex, bool smooth_phase, std::uint64_t seed) {
  const auto n = static_cast<std::int64_t>(slices.size()), n_chosen = std::min(n, at_most);
  std::vector<at::Tensor> images;
  for (std::int64_t i = 0; i < n_chosen; ++i) {
    const at::Tensor& image = slices[(2 * i + 1) * n / (2 * n_chosen)].image;
    const at::Tensor phase = smooth_phase ? smooth_phase_rad(derive_seed(seed, -1 - i, SeedPurpose::kPhase), image.size(1), image.size(2)) : at::Tensor();
    images.push_back(with_phase(image, phase, is_complex ? at::kComplexFloat : at::kFloat));
  }
  return images;
}

DenoisingCheck::DenoisingCheck(const std::vector<TrainingSlice>& slices, bool is_complex, bool smooth_phase, std::uint64_t seed) {
  std::vector<at::Tensor> crops = spread_images(slices, kCrops, is_complex, smooth_phase, seed);
  std::int64_t height = kLargestCrop, width = kLargestCrop;
  for (const at::Tensor& image : crops) {
    height = std::min(height, image.size(1));
    width = std::min(width, image.size(2));
  }
  for (at::Tensor& image : crops) image = middle(image, height, width);
  clean_ = at::stack(crops);
  noise_ = RandomStreams(derive_seed(seed, -1, SeedPurpose::kNoise), 0, clean_.size(0)).normal(0, clean_.sizes().slice(1).vec(), clean_.scalar_type());
}

std::vector<DenoisingCheck::Row> DenoisingCheck::run(const DenoisingNetwork& network, const c10::Device& device) const {
  const at::NoGradGuard no_grad;
  std::vector<Row> rows;
  for (const double sigma : kSigmas) {
    const at::Tensor noisy = clean_ + sigma * noise_;
    const at::Tensor denoised = network.denoise(noisy.to(device), at::full({1}, sigma, at::TensorOptions(device).dtype(at::kFloat))).cpu();
    const at::Tensor error = denoised - clean_;
    const double mean_square = (error.is_complex() ? at::view_as_real(error) : error).square().mean(at::kDouble).item<double>();
    rows.push_back({sigma, noisy, denoised, -10.0 * std::log10(mean_square)});
  }
  return rows;
}

}  // namespace postrec
