#include "postrec/error_table.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "power_average.hpp"
#include "shape_cache.hpp"
#include "spectral_transform.hpp"
#include "spectrum_table.hpp"

namespace postrec {
namespace {

constexpr double kFloor = 1e-8;                // of a level's mean: keeps c > 0 where a denoiser makes no error
constexpr double kSmallest = 1e-30;            // and where it makes none at all

void check_image(const at::Tensor& image, SpectralBasis basis, const at::Tensor& first) {
  const bool fits = image.dim() == 3 && image.numel() > 0 && image.size(0) == first.size(0) && image.scalar_type() == first.scalar_type() &&
                    (image.scalar_type() == at::kFloat || (basis == SpectralBasis::kDft && image.scalar_type() == at::kComplexFloat));
  if (!fits)
    throw Error(ErrorKind::kBadData, "an image to measure errors on is not [channels, rows, columns] of the first one's type and channels",
                "float32, or complex64 in the DFT basis");
  if (!at::isfinite(image).all().item<bool>()) throw Error(ErrorKind::kBadData, "an image to measure errors on holds NaN or infinity", "leave it out");
}

/// |Q^H (x0 - D)|^2 per real component, double [C, H, W].
at::Tensor error_power(SpectralBasis basis, const at::Tensor& x0, const at::Tensor& denoised) {
  const at::Tensor coefficients = from_natural_order(basis, to_natural_basis(basis, x0 - denoised));
  return at::abs(coefficients).to(at::kDouble).square() * (x0.is_complex() ? 0.5 : 1.0);
}

/// Images with noise of one level, [1, C, H, W] each, and what the denoiser makes of them.
struct Denoised {
  std::vector<at::Tensor> noisy, images;
};

Denoised denoise_all(const std::function<at::Tensor(const at::Tensor&, double)>& denoise, const std::vector<at::Tensor>& images, double sigma, std::size_t level, std::uint64_t seed) {
  Denoised all;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const at::Tensor noise = RandomStreams(seed, static_cast<std::int64_t>(i), 1).normal(level, images[i].sizes().vec(), images[i].scalar_type());
    all.noisy.push_back(images[i].unsqueeze(0) + noise * sigma);
    all.images.push_back(denoise(all.noisy.back(), sigma));
    if (all.images.back().sizes() != all.noisy.back().sizes() || !at::isfinite(all.images.back()).all().item<bool>())
      throw Error(ErrorKind::kNumerical, "the denoiser's answer at sigma " + std::to_string(sigma) + " is not finite or not the size of its image",
                  "train it longer, or leave that noise level out");
  }
  return all;
}

/// Of images [1, C, H, W] from the right ones, per real component, each image counting alike.
double mean_square_error(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& right) {
  double sum = 0.0;
  for (std::size_t i = 0; i < right.size(); ++i)
    sum += at::abs(found[i] - right[i].unsqueeze(0)).to(at::kDouble).square().mean().item<double>() * (right[i].is_complex() ? 0.5 : 1.0);
  return sum / static_cast<double>(right.size());
}

/// How to read the table at the frequencies of an image.
struct Reading {
  at::Tensor along_rows;
  at::Tensor along_columns;
};

}  // namespace

class ErrorTable::Cache : public ShapeCache<Reading> {};

std::vector<double> ErrorTable::standard_sigmas() {
  constexpr int kLevels = 48;
  constexpr double kFirst = 1e-3, kLast = 60.0;
  std::vector<double> sigmas(kLevels);
  for (int i = 0; i < kLevels; ++i) sigmas[i] = static_cast<float>(kFirst * std::pow(kLast / kFirst, static_cast<double>(i) / (kLevels - 1)));
  return sigmas;
}

ErrorTable::ErrorTable(SpectralBasis basis, std::vector<double> sigmas, at::Tensor eigenvalues, std::optional<ErrorEnvelope> envelope,
                       std::optional<DenoiserCorrection> correction)
    : basis_(basis),
      sigmas_(std::move(sigmas)),
      eigenvalues_(std::move(eigenvalues)),
      envelope_(std::move(envelope)),
      correction_(std::move(correction)),
      cache_(std::make_shared<Cache>()) {
  const bool rises = !sigmas_.empty() && sigmas_.front() > 0.0 && std::isfinite(sigmas_.back()) &&
                     std::adjacent_find(sigmas_.begin(), sigmas_.end(), [](double a, double b) { return !(a < b); }) == sigmas_.end();
  if (!rises) throw Error(ErrorKind::kBadData, "the noise levels of an error table do not rise from above 0", "measure the table again");
  if (eigenvalues_.scalar_type() != at::kFloat || eigenvalues_.dim() != 4 || eigenvalues_.size(0) != static_cast<std::int64_t>(sigmas_.size()) ||
      eigenvalues_.numel() == 0)
    throw Error(ErrorKind::kBadData, "an error table is not float32 [levels, channels, rows, columns] with as many levels as noise levels",
                "measure the table again");
  if (!eigenvalues_.gt(0.0).all().item<bool>() || !at::isfinite(eigenvalues_).all().item<bool>())
    throw Error(ErrorKind::kBadData, "an error table holds a variance that is not positive or not finite", "measure the table again");
  if (envelope_ && envelope_->deviations().size(0) != eigenvalues_.size(0))
    throw Error(ErrorKind::kBadData, "an error envelope has not the noise levels of its error table", "measure the table again");
  if (correction_ && (correction_->shares().size(0) != eigenvalues_.size(0) || correction_->shares().size(1) != eigenvalues_.size(1)))
    throw Error(ErrorKind::kBadData, "a denoiser's correction has not the noise levels and channels of its error table", "measure the table again");
  log_eigenvalues_ = eigenvalues_.to(at::kDouble).log();
}

/// Where a noise level lies in the table: between levels `below` and below + 1, `weight` of the latter; weight 0 beyond its ends.
struct ErrorTable::Position {
  std::int64_t below = 0;
  double weight = 0.0;
  double log_below_first = 0.0;                ///< log(sigma/first) where that is negative
};

ErrorTable::Position ErrorTable::position_of(double sigma) const {
  const auto above = std::upper_bound(sigmas_.begin(), sigmas_.end(), sigma);
  if (above == sigmas_.begin()) return {0, 0.0, std::log(sigma / sigmas_.front())};
  const std::int64_t i = above - sigmas_.begin() - 1;
  if (above == sigmas_.end()) return {i, 0.0};
  return {i, std::log(sigma / sigmas_[i]) / std::log(sigmas_[i + 1] / sigmas_[i])};
}

SpectralCovariance ErrorTable::at_sigma(double sigma, const std::vector<std::int64_t>& image_shape) const {
  if (image_shape.size() != 3 || image_shape[0] != log_eigenvalues_.size(1))
    throw Error(ErrorKind::kBadData, "an error table is for images [" + std::to_string(log_eigenvalues_.size(1)) + ", rows, columns]",
                "give images with as many channels");
  const Position place = position_of(sigma);
  at::Tensor log_c = log_eigenvalues_[place.below] + 2.0 * place.log_below_first;
  if (place.weight > 0.0) log_c = log_c * (1.0 - place.weight) + log_eigenvalues_[place.below + 1] * place.weight;
  if (log_c.sizes() != at::IntArrayRef(image_shape)) {
    const Reading reading = cache_->get(image_shape, [&] {
      return Reading{axis_interpolation(basis_, log_c.size(1), axis_frequencies(basis_, image_shape[1])),
                            axis_interpolation(basis_, log_c.size(2), axis_frequencies(basis_, image_shape[2])).t().contiguous()};
    });
    log_c = at::matmul(at::matmul(reading.along_rows, log_c), reading.along_columns);
  }
  return SpectralCovariance(basis_, log_c.exp().to(at::kFloat));
}

SpectralCovariance ErrorTable::around(const at::Tensor& denoised, double sigma) const {
  const SpectralCovariance stationary = at_sigma(sigma, denoised.sizes().slice(1).vec()).to(denoised.device());
  if (!envelope_) return stationary;
  const Position place = position_of(sigma);
  return stationary.with_envelope(envelope_->around(denoised, place.below, place.weight));
}

at::Tensor ErrorTable::corrected(const at::Tensor& x_t, const at::Tensor& denoised, double sigma) const {
  if (!correction_) return denoised;
  const Position place = position_of(sigma);
  return correction_->apply(x_t, denoised, place.below, place.weight);
}

ErrorTable measure_error_table(const std::function<at::Tensor(const at::Tensor& x_t, double sigma)>& denoise, SpectralBasis basis,
                               const std::vector<at::Tensor>& images, std::int64_t table_size, std::uint64_t seed, std::vector<double> sigmas,
                               std::vector<double>* mean_squares) {
  if (images.empty()) throw Error(ErrorKind::kUsage, "there is no image to measure a denoiser's error on", "hold some out of the training");
  if (table_size < 4) throw Error(ErrorKind::kUsage, "an error table of " + std::to_string(table_size) + " rows", "it needs at least 4");
  for (const at::Tensor& image : images) check_image(image, basis, images.front());
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> levels;
  EnvelopeMeasurement envelope;
  CorrectionMeasurement correction(basis);
  for (std::size_t level = 0; level < sigmas.size(); ++level) {
    const Denoised all = denoise_all(denoise, images, sigmas[level], level, seed);
    for (std::size_t i = 0; i < images.size(); ++i) correction.add(all.images[i] - images[i].unsqueeze(0), all.noisy[i] - images[i].unsqueeze(0));
    correction.finish_level();
    const DenoiserCorrection found = correction.correction();
    at::Tensor sum = at::zeros({images.front().size(0), table_size, table_size}, at::kDouble), weight = at::zeros({table_size, table_size}, at::kDouble);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const at::Tensor x0 = images[i].unsqueeze(0), corrected = found.apply(all.noisy[i], all.images[i], static_cast<std::int64_t>(level), 0.0);
      envelope.add(corrected, x0 - corrected);
      accumulate_power(basis, error_power(basis, x0, corrected).squeeze(0), /*ratio=*/1.0, /*skip_mean=*/false, sum, weight);
    }
    if (mean_squares != nullptr) mean_squares->push_back(mean_square_error(all.images, images));
    const double floor = kFloor * (sum.sum() / weight.sum() / sum.size(0)).item<double>() + kSmallest;
    levels.push_back(smoothed_power(basis, sum + weight * floor, weight).to(at::kFloat));
    envelope.finish_level();
  }
  return ErrorTable(basis, std::move(sigmas), at::stack(levels), envelope.envelope(), correction.correction());
}

SigmaRange useful_range(const std::vector<double>& sigmas, const std::vector<double>& mean_squares, double image_variance) {
  const auto is_useful = [&](std::size_t level) { return mean_squares[level] < std::min(sigmas[level] * sigmas[level], image_variance); };
  std::size_t begin = 0, end = 0;                // of the longest run so far
  for (std::size_t first = 0; first < sigmas.size(); ++first) {
    std::size_t last = first;
    while (last < sigmas.size() && is_useful(last)) ++last;
    if (last - first > end - begin) begin = first, end = last;
    first = last;
  }
  if (end - begin < 2)
    throw Error(ErrorKind::kBadData, "the denoiser is better than its input and than the mean image at " + std::to_string(end - begin) + " of " +
                std::to_string(sigmas.size()) + " noise levels", "check what it predicts, how its input is scaled and what its sigma means");
  return {sigmas[begin], sigmas[end - 1]};
}

}  // namespace postrec
