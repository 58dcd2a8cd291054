#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "beds.hpp"
#include "exact_conditional.hpp"
#include "postrec/conditional_denoiser.hpp"
#include "postrec/trainer.hpp"

namespace postrec::test {
namespace {

/// T2c of complex images: the same weights, means and spectra.
MixturePrior complex_t2c() {
  const Bed bed = t2c_mri1();
  std::vector<MixturePrior::Component> components = bed.prior->components();
  for (MixturePrior::Component& component : components) component.mean = component.mean.to(at::kComplexFloat);
  return MixturePrior(SpectralBasis::kDft, components, {});
}

/// n draws of the mixture, [n, 1, 8, 8].
at::Tensor draw(const MixturePrior& prior, std::int64_t n, std::uint64_t seed) {
  const RandomStreams streams(seed, 0, n);
  const at::Tensor choice = streams.uniform(0, {1}).flatten();
  at::Tensor x = at::empty({n, 1, 8, 8}, at::kComplexFloat);
  const at::Tensor white = streams.normal(0, {1, 8, 8}, at::kComplexFloat);
  double lower = 0.0;
  for (const MixturePrior::Component& component : prior.components()) {
    const double upper = lower + component.weight + (&component == &prior.components().back() ? 1.0 : 0.0);
    const at::Tensor chosen = choice.ge(lower).logical_and(choice.lt(upper)).nonzero().flatten();
    x.index_copy_(0, chosen, component.mean + SpectralCovariance(prior.basis(), component.spectrum).apply_factor(white.index_select(0, chosen)));
    lower = upper;
  }
  return x;
}

/// The Gaussian of the same second moments: s_k + |m_k|^2 / 2, averaged.
GaussianPrior matching_gaussian(const MixturePrior& prior) {
  at::Tensor s = at::zeros({1, 8, 8});
  for (const MixturePrior::Component& component : prior.components()) {
    const at::Tensor mean = SpectralCovariance(prior.basis(), component.spectrum).to_basis(component.mean.unsqueeze(0))[0];
    s += component.weight * (component.spectrum + 0.5 * at::abs(mean).square());
  }
  return GaussianPrior(SpectralBasis::kDft, s, at::zeros({1}), 0.0, {});
}

DenoisingNetwork trained_network(const MixturePrior& prior) {
  TrainingOptions options;
  options.network.widths = {32, 64};
  options.network.blocks = {1, 1};
  options.network.embedding = 64;
  options.network.conditions = SpectralNoise::kSummarySize;
  options.n_steps = 1700;
  options.n_decay_steps = 900;
  options.learning_rate = 3e-3;
  options.average_decay = 0.98;
  options.pixels_per_step = 32 * 64;
  options.crops = {{8, 1.0, 0.5}};
  options.sd_log_sigma = 1.0;
  options.masked_fourier = {.share = 0.9, .log_sigma_shift = 0.0, .min_sigma_y = 0.07, .max_sigma_y = 0.15};
  options.augmentation.flips = false;
  options.augmentation.warped_share = 0.0;
  Trainer trainer(options, matching_gaussian(prior), draw(prior, 8192, 1).unbind());
  while (!trainer.finished()) trainer.step();
  return trainer.averaged();
}

// The ky = 0 bed: whether the image has a wave along rows and which, y cannot tell; x_t tells the more the lower sigma.
//
// Errors are to E[x | x_t, y] by dense matrices, as a share of what the exact answer leaves open, E |x - E[x | x_t, y]|^2. Beside the network stand
// the best possible answers of two shortcuts: the exact E[x | x_t], which ignores y, and the exact white-noise denoiser at the pivot.
//
//   sigma   network   white noise at the pivot   without y
//   1.0     .12       .32                        .39
//   2.0     .18       .54                        .66
//   4.0     .13       .62                        .69
//
// Seeds are fixed, so that only the rounding of another processor's convolutions moves these figures, through the training: the bounds leave a third for it.
TEST(ConditionalDenoiser, LearnsTheConditionalMean) {
  const int n_threads = at::get_num_threads();
  at::set_num_threads(1);  // training gives the same bits for the same number of threads
  const MixturePrior prior = complex_t2c();
  const DenoisingNetwork network = trained_network(prior);
  at::Tensor mask = at::zeros({8, 8});
  mask[0].fill_(1.0);
  const auto op = std::make_shared<CoilOperator>(at::ones({1, 8, 8}, at::kComplexFloat), mask);
  const double sigma_y = 0.1;
  constexpr std::int64_t kN = 32;
  const RandomStreams streams(2, 0, kN);
  const at::Tensor x = draw(prior, kN, 77);
  const at::Tensor y = op->forward(x) + sigma_y * streams.normal(0, {1, 8, 8}, at::kComplexFloat) * mask;
  for (const double sigma : {1.0, 2.0, 4.0}) {
    const at::Tensor x_t = x + sigma * streams.normal(1, {1, 8, 8}, at::kComplexFloat);
    const at::Tensor exact = exact_conditional_mean(prior, op, x_t, sigma, y, sigma_y);
    double learned = 0.0, isotropic = 0.0;
    for (std::int64_t b = 0; b < kN; ++b) {
      const GaussianLikelihood likelihood(op, y[b], sigma_y);
      const at::Tensor one = x_t.slice(0, b, b + 1), truth = exact.slice(0, b, b + 1);
      const ConditionalDenoiser denoiser(network, likelihood);
      const Pivot pivot = denoiser.measurement().pivot(one, sigma);
      learned += (as_real_rows(denoiser.denoise(one, sigma)) - truth).square().mean().item<double>() / kN;
      isotropic += (as_real_rows(prior.denoise(pivot.z, pivot.noise.level().item<double>())) - truth).square().mean().item<double>() / kN;
    }
    const double open = (as_real_rows(x) - exact).square().mean().item<double>();
    const double blind = (as_real_rows(prior.denoise(x_t, sigma)) - exact).square().mean().item<double>();
    EXPECT_LT(learned, 0.25 * open) << sigma;
    EXPECT_LT(learned, 0.55 * isotropic) << sigma;
    EXPECT_LT(learned, 0.5 * blind) << sigma;
  }
  at::set_num_threads(n_threads);
}

}  // namespace
}  // namespace postrec::test
