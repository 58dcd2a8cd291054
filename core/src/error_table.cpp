#include "postrec/error_table.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "postrec/error.hpp"

namespace postrec {

std::vector<double> ErrorTable::standard_sigmas() {
  constexpr int kLevels = 48;
  constexpr double kFirst = 1e-3, kLast = 60.0;
  std::vector<double> sigmas(kLevels);
  for (int i = 0; i < kLevels; ++i) sigmas[i] = kFirst * std::pow(kLast / kFirst, static_cast<double>(i) / (kLevels - 1));
  return sigmas;
}

ErrorTable::ErrorTable(SpectralBasis basis, std::vector<double> sigmas, at::Tensor eigenvalues) : basis_(basis), sigmas_(std::move(sigmas)) {
  if (sigmas_.empty() || !(sigmas_.front() > 0.0) || !std::is_sorted(sigmas_.begin(), sigmas_.end(), std::less_equal<>()))
    throw Error(ErrorKind::kBadData, "the noise levels of an error table do not rise from above 0", "measure the table again");
  if (eigenvalues.scalar_type() != at::kFloat || eigenvalues.dim() != 4 || eigenvalues.size(0) != static_cast<std::int64_t>(sigmas_.size()) ||
      !eigenvalues.gt(0.0).all().item<bool>())
    throw Error(ErrorKind::kBadData, "an error table is not positive float32 [levels, channels, rows, columns]", "measure the table again");
  log_eigenvalues_ = eigenvalues.to(at::kDouble).log();
}

SpectralCovariance ErrorTable::at_sigma(double sigma) const {
  const auto above = std::upper_bound(sigmas_.begin(), sigmas_.end(), sigma);
  at::Tensor log_c;
  if (above == sigmas_.begin()) {
    log_c = log_eigenvalues_[0] + 2.0 * std::log(sigma / sigmas_.front());
  } else if (above == sigmas_.end()) {
    log_c = log_eigenvalues_[-1];
  } else {
    const std::int64_t i = above - sigmas_.begin();
    const double weight = std::log(sigma / sigmas_[i - 1]) / std::log(sigmas_[i] / sigmas_[i - 1]);
    log_c = log_eigenvalues_[i - 1] * (1.0 - weight) + log_eigenvalues_[i] * weight;
  }
  return SpectralCovariance(basis_, log_c.exp().to(at::kFloat));
}

}  // namespace postrec
