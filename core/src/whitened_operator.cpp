#include "postrec/whitened_operator.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "batched_vectors.hpp"
#include "device_cache.hpp"
#include "postrec/shape_text.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kBlock = 512;           // samples of k-space mixed in one go, small enough for the first cache with a few coils

/// One block of `n` samples of all coils: out_i = sum_j matrix_ij in_j, j in order. Complex numbers interleaved, coils `stride` floats
/// apart.
void mix_block(const c10::complex<float>* matrix, std::int64_t n_coils, const float* in, float* out, std::int64_t stride, std::int64_t n) {
  std::array<float, 2 * kBlock> sums;
  for (std::int64_t i = 0; i < n_coils; ++i) {
    sums.fill(0.0f);
    for (std::int64_t j = 0; j < n_coils; ++j) {
      const float re = matrix[i * n_coils + j].real(), im = matrix[i * n_coils + j].imag();
      const float* v = in + j * stride;
      for (std::int64_t k = 0; k < n; ++k) {
        sums[2 * k] += re * v[2 * k] - im * v[2 * k + 1];
        sums[2 * k + 1] += re * v[2 * k + 1] + im * v[2 * k];
      }
    }
    std::copy_n(sums.data(), 2 * n, out + i * stride);
  }
}

/// The matrix [coil, coil], where v is, applied at every sample of v [B, coil, ...]. A matrix product would not promise the same bits whatever the
/// batch and the threads (seen with 3 and 5 coils).
at::Tensor mix_coils(const at::Tensor& matrix, const at::Tensor& v) {
  if (!v.is_cpu()) return at::matmul(matrix, v.flatten(2)).view(v.sizes());
  const at::Tensor in = v.resolve_conj().contiguous();
  at::Tensor out = at::empty_like(in);
  const std::int64_t n_coils = v.size(1), n = n_coils > 0 && v.size(0) > 0 ? v.numel() / (v.size(0) * n_coils) : 0;
  const std::int64_t n_blocks = (n + kBlock - 1) / kBlock;
  const auto* entries = matrix.const_data_ptr<c10::complex<float>>();
  const auto* from = reinterpret_cast<const float*>(in.const_data_ptr<c10::complex<float>>());
  auto* to = reinterpret_cast<float*>(out.mutable_data_ptr<c10::complex<float>>());
  at::parallel_for(0, v.size(0) * n_blocks, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t first = item % n_blocks * kBlock, at = 2 * (item / n_blocks * n_coils * n + first);
      mix_block(entries, n_coils, from + at, to + at, 2 * n, std::min(kBlock, n - first));
    }
  });
  return out;
}

/// L of Psi/2 = L L^H, complex double.
at::Tensor noise_factor(const at::Tensor& covariance) {
  const std::string shape = shape_text(covariance.sizes());
  if (covariance.dim() != 2 || covariance.size(0) != covariance.size(1))
    throw Error(ErrorKind::kBadData, "the noise covariance is " + shape, "it must be square: [coil, coil]");
  const at::Tensor psi = covariance.to(at::kCPU, at::kComplexDouble);
  const at::Tensor mirrored = psi.conj().t().resolve_conj();
  const double size = psi.abs().max().item<double>();
  // Files hold seven digits.
  if (!((psi - mirrored).abs().max().item<double>() <= 1e-5 * size))
    throw Error(ErrorKind::kBadData, "the noise covariance is not Hermitian", "it is E[n n^H] over the coils");
  // Of the correlations, since how much a coil amplifies says nothing of its being independent.
  const at::Tensor deviations = at::real(psi.diagonal()).clamp_min(0.0).mul(0.5).sqrt();
  const auto [factor, info] = at::linalg_cholesky_ex((psi + mirrored) * 0.25 / at::outer(deviations, deviations));
  // A pivot below the digits of a file is 0.
  const at::Tensor pivots = at::real(factor.diagonal());
  if (!(deviations.min().item<double>() > 0.0) || info.item<int>() != 0 || pivots.min().item<double>() < 1e-5 * pivots.max().item<double>())
    throw Error(ErrorKind::kBadData, "the noise covariance is not positive definite",
                "take it from at least as many noise samples as coils");
  return factor * deviations.unsqueeze(1);
}

}  // namespace

EntryWeights::EntryWeights(const at::Tensor& weights) {
  if (weights.scalar_type() != at::kFloat || weights.numel() == 0)
    throw Error(ErrorKind::kBadData, "the weights are not real numbers", "float32, one for each entry");
  if (!at::isfinite(weights).all().item<bool>())
    throw Error(ErrorKind::kBadData, "the weights hold NaN or infinity", "every one must be finite");
  if (weights.min().item<double>() < 0.0)
    throw Error(ErrorKind::kBadData, "a weight is " + std::to_string(weights.min().item<double>()),
                "weights are 0 (not measured) or positive");
  const at::Tensor root = weights.sqrt();
  largest_root_ = root.max().item<double>();
  if (largest_root_ == 0.0) throw Error(ErrorKind::kBadData, "every weight is 0", "nothing would be measured");
  tables_ = std::make_shared<TensorsByDevice>(std::vector{weights, root, at::where(root.gt(0), root.reciprocal(), at::zeros_like(root))});
}

at::Tensor EntryWeights::whiten(const at::Tensor& v) const { return times_table(v, tables_->on(v.device(), kRoot)); }
at::Tensor EntryWeights::precision(const at::Tensor& v) const { return times_table(v, tables_->on(v.device(), kWeights)); }
at::Tensor EntryWeights::colour(const at::Tensor& v) const { return times_table(v, tables_->on(v.device(), kInverseRoot)); }

void EntryWeights::require_fit(const TensorSpec& codomain) const {
  if (tables_->on_host(kWeights).sizes() != at::IntArrayRef(codomain.shape))
    throw Error(ErrorKind::kConfiguration, "the weights are " + shape_text(tables_->on_host(kWeights).sizes()),
                "the operator measures " + shape_text(codomain.shape));
}

CoilWhitening::CoilWhitening(const at::Tensor& covariance) {
  const at::Tensor factor = noise_factor(covariance);
  n_coils_ = factor.size(0);
  const at::Tensor inverse = at::linalg_solve_triangular(factor, at::eye(n_coils_, factor.options()), /*upper=*/false);
  const auto single = [](const at::Tensor& matrix) { return matrix.to(at::kComplexFloat).contiguous(); };
  const at::Tensor adjoint = inverse.conj().t().resolve_conj();
  matrices_ = std::make_shared<TensorsByDevice>(std::vector{single(factor), single(inverse), single(adjoint), single(adjoint.matmul(inverse))});
  norm_bound_ = at::linalg_svdvals(inverse).max().item<double>();
  sigma_y_ = std::sqrt(factor.abs().square().sum().item<double>() / static_cast<double>(n_coils_));
}

at::Tensor CoilWhitening::whiten(const at::Tensor& v) const { return mix_coils(matrices_->on(v.device(), kWhitening), v); }
at::Tensor CoilWhitening::whiten_adjoint(const at::Tensor& v) const { return mix_coils(matrices_->on(v.device(), kWhiteningAdjoint), v); }
at::Tensor CoilWhitening::precision(const at::Tensor& v) const { return mix_coils(matrices_->on(v.device(), kPrecision), v); }
at::Tensor CoilWhitening::colour(const at::Tensor& v) const { return mix_coils(matrices_->on(v.device(), kColouring), v); }

void CoilWhitening::require_fit(const TensorSpec& codomain) const {
  if (codomain.dtype != at::kComplexFloat || codomain.shape.size() < 2 || codomain.shape[0] != n_coils_)
    throw Error(ErrorKind::kConfiguration, "the noise covariance is of " + std::to_string(n_coils_) + " coils",
                "the operator measures " + shape_text(codomain.shape) + ", " + (codomain.dtype == at::kComplexFloat ? "complex" : "real"));
}

WhitenedOperator::WhitenedOperator(std::shared_ptr<const Operator> op, std::shared_ptr<const Whitening> whitening)
    : op_(std::move(op)), whitening_(std::move(whitening)) {
  whitening_->require_fit(op_->codomain());
}

GaussianLikelihood whitened_likelihood(std::shared_ptr<const Operator> op, const at::Tensor& y, std::shared_ptr<const Whitening> whitening,
                                       double sigma_y) {
  const auto whitened = std::make_shared<WhitenedOperator>(std::move(op), whitening);
  return GaussianLikelihood(whitened, whitening->whiten(y.unsqueeze(0)).squeeze(0), sigma_y);
}

}  // namespace postrec
