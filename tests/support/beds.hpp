#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "exact_posterior.hpp"
#include "postrec/mixture_prior.hpp"
#include "test_operators.hpp"

namespace postrec::test {

/// A problem whose posterior is known in closed form.
struct Bed {
  std::string name;
  std::shared_ptr<MixturePrior> prior;
  std::shared_ptr<Operator> op;
  at::Tensor y;
  double sigma_y;

  ExactPosterior posterior() const { return ExactPosterior(*prior, *op, y, sigma_y); }
};

inline constexpr double kTwoPi = 6.28318530717958647692;

/// 1/(1 + kx^2 + ky^2), k in -n/2..n/2 - 1, scaled to a mean of `mean`, float32 [1, n, n].
inline at::Tensor lorentzian_spectrum(std::int64_t n, double mean) {
  const at::Tensor k = at::arange(n, at::kDouble) - static_cast<double>(n / 2);
  const at::Tensor s = (1.0 + k.square().unsqueeze(1) + k.square().unsqueeze(0)).reciprocal();
  return (s * (mean / s.mean().item<double>())).to(at::kFloat).unsqueeze(0);
}

/// 0.5 cos(2 pi (a r + b c)/n + phi), float32 [1, n, n].
inline at::Tensor wave(std::int64_t n, double a, double b, double phi) {
  const at::Tensor i = at::arange(n, at::kDouble);
  return (0.5 * (kTwoPi / n * (a * i.unsqueeze(1) + b * i.unsqueeze(0)) + phi).cos()).to(at::kFloat).unsqueeze(0);
}

/// 0 in rows and columns first..last, 1 elsewhere, float32 [n, n].
inline at::Tensor hole(std::int64_t n, std::int64_t first, std::int64_t last) {
  at::Tensor mask = at::ones({n, n}, at::kFloat);
  mask.narrow(0, first, last - first + 1).narrow(1, first, last - first + 1).zero_();
  return mask;
}

inline Bed t1c(std::string name, std::shared_ptr<Operator> op) {
  PriorInfo info;
  info.name = "T1c";
  std::vector<MixturePrior::Component> components = {{1.0, at::zeros({1, 16, 16}), lorentzian_spectrum(16, 0.25)}};
  const at::Tensor y = op->forward(wave(16, 1, 2, 0).unsqueeze(0)).squeeze(0);
  return {std::move(name), std::make_shared<MixturePrior>(SpectralBasis::kDft, components, info), op, y, 0.05};
}
inline Bed t1c_box8() { return t1c("T1c-box8", std::make_shared<MaskOperator>(hole(16, 4, 11), 1, at::kFloat)); }
inline Bed t1c_mri4x() { return t1c("T1c-mri4x", std::make_shared<RealFourierRows>(16, 16, std::vector<std::int64_t>{0, 1, 15, 4})); }

inline Bed t2c(std::string name, std::shared_ptr<Operator> op, double sigma_y) {
  PriorInfo info;
  info.name = "T2c";
  const at::Tensor spectrum = lorentzian_spectrum(8, 1.0);
  const double weights[] = {.4, .3, .2, .1}, scales[] = {.15, .2, .3, .2};
  const at::Tensor means[] = {wave(8, 1, 0, 0), wave(8, 0, 1, 0), wave(8, 1, 1, 0), wave(8, 1, 0, kTwoPi / 2)};
  std::vector<MixturePrior::Component> components;
  for (int k = 0; k < 4; ++k) components.push_back({weights[k], means[k], spectrum * (scales[k] * scales[k]) + 1e-6});
  const at::Tensor y = op->forward(((means[0] + means[1]) / 2).unsqueeze(0)).squeeze(0);
  return {std::move(name), std::make_shared<MixturePrior>(SpectralBasis::kDft, components, info), op, y, sigma_y};
}
inline Bed t2c_box6() { return t2c("T2c-box6", std::make_shared<MaskOperator>(hole(8, 1, 6), 1, at::kFloat), 0.2); }
inline Bed t2c_box4() { return t2c("T2c-box4", std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat), 0.05); }
inline Bed t2c_mri1() { return t2c("T2c-mri1", std::make_shared<RealFourierRows>(8, 8, std::vector<std::int64_t>{0}), 0.1); }

}  // namespace postrec::test
