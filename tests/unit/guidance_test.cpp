#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "exact_conditional.hpp"
#include "expect_error.hpp"
#include "method_table.hpp"
#include "networks.hpp"
#include "postrec/sampler.hpp"
#include "postrec/spectral_measurement.hpp"

namespace postrec::test {
namespace {

struct Problem {
  std::shared_ptr<const Prior> prior;
  std::shared_ptr<const Operator> op;
  at::Tensor y;
  double sigma_y = 0.1;
};

std::shared_ptr<MixturePrior> gaussian(SpectralBasis basis, at::Tensor spectrum, at::ScalarType type, double mean = 0.2) {
  const at::Tensor centre = at::full(spectrum.sizes(), mean, at::TensorOptions().dtype(type));
  return std::make_shared<MixturePrior>(basis, std::vector<MixturePrior::Component>{{1.0, centre, spectrum}}, PriorInfo{});
}

std::shared_ptr<CoilOperator> masked_fourier(std::int64_t coils) {
  at::Tensor mask = at::zeros({8, 8});
  for (const int row : {0, 1, 3, 6}) mask[row].fill_(1.0);
  return std::make_shared<CoilOperator>(coils == 1 ? at::ones({1, 8, 8}, at::kComplexFloat) : ring_of_coils(coils, 8, 8), mask);
}

at::Tensor noise(std::uint64_t seed, std::int64_t batch, const TensorSpec& spec) {
  return RandomStreams(seed, 0, batch).normal(0, spec.shape, spec.dtype);
}

Problem problem_of(std::shared_ptr<const Prior> prior, std::shared_ptr<const Operator> op) {
  const at::Tensor y = op->forward(0.5 * noise(1, 1, op->domain()))[0];
  return {std::move(prior), std::move(op), y};
}

Problem hidden_box(at::Tensor spectrum) {
  const auto op = std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat);
  return problem_of(gaussian(SpectralBasis::kDft, std::move(spectrum), at::kFloat), op);
}
Problem hidden_box() { return hidden_box(lorentzian_spectrum(8, 0.25)); }

Problem coils(std::int64_t n_coils, at::Tensor spectrum) {
  return problem_of(gaussian(SpectralBasis::kDft, std::move(spectrum), at::kComplexFloat), masked_fourier(n_coils));
}
Problem coils(std::int64_t n_coils) { return coils(n_coils, lorentzian_spectrum(8, 0.25)); }

/// One batch of a problem with a method, to look into.
struct Bench {
  Bench(const Problem& posed, const std::string& name, std::int64_t n_samples, std::vector<double> sigmas,
        const std::map<std::string, double>& settings, double tolerance = 1e-6)
      : problem(posed), method(find_method(name)), solver(solver_of(method, "")), likelihood(problem.op, problem.y, problem.sigma_y),
        task{*problem.prior, &likelihood, problem.op->domain(), at::kCPU, 3, 0, n_samples, {tolerance, 500}, make_noise_process("edm", {}),
             std::move(sigmas), complete_settings(method, solver, settings)},
        guidance(method.guide(task)) {}

  at::Tensor denoise(const at::Tensor& x_t, double sigma, double next_sigma = 0.0) {
    const at::NoGradGuard no_graph;
    return guidance->denoise(x_t, sigma, {0, 0, next_sigma}, record);
  }

  const Problem problem;
  const MethodEntry& method;
  const SolverEntry* solver;
  GaussianLikelihood likelihood;
  SamplingTask task;
  std::unique_ptr<Guidance> guidance;
  LevelRecord record;
};

// E[x0 | x_t, y] by dense matrices. The dense side takes A in single precision over sigma_y and CG stops at 1e-6 of the residual: both 1e-6
// to 1e-7 times a condition number of a few hundred.
void expect_conditional_mean(const Problem& problem, const std::string& method, const std::map<std::string, double>& settings) {
  const std::vector<double> tabulated = ErrorTable::standard_sigmas();  // where the error covariance of these priors is exact
  for (const double sigma : {tabulated[20], tabulated[27], tabulated[33]}) {  // .11, .56, 2.3
    Bench bench(problem, method, 2, {sigma}, settings);
    const at::Tensor x_t = (1.0 + sigma) * noise(2, 2, problem.op->domain());
    std::vector<std::int64_t> sizes = problem.op->codomain().shape;
    sizes.insert(sizes.begin(), 2);
    const auto& prior = dynamic_cast<const MixturePrior&>(*problem.prior);
    const at::Tensor exact = exact_conditional_mean(prior, problem.op, x_t, sigma, problem.y.expand(sizes), problem.sigma_y);
    EXPECT_LT((as_real_rows(bench.denoise(x_t, sigma)) - exact).abs().max().item<double>(), 1e-4) << method << " at sigma " << sigma;
    ASSERT_EQ(bench.record.misfit.size(), 2u);
    const at::Tensor chi2 = bench.likelihood.reduced_chi2(problem.prior->denoise(x_t, sigma));
    if (method != "eps") { EXPECT_NEAR(bench.record.misfit[0], chi2[0].item<double>(), 1e-4 * bench.record.misfit[0]); }
  }
}

TEST(Mmps, IsTheConditionalMeanOfAGaussian) {
  for (const Problem& problem : {hidden_box(), coils(1), coils(3)}) expect_conditional_mean(problem, "mmps", {{"iterations", 400}});
}

TEST(PigdmCalibrated, IsTheConditionalMeanOfAWhiteGaussian) {
  const at::Tensor white = at::full({1, 8, 8}, 0.3f);
  for (const Problem& problem : {hidden_box(white), coils(1, white), coils(3, white)})
    expect_conditional_mean(problem, "pigdm-calibrated", {{"perturbation", 0.0}});
}

TEST(Eps, IsTheConditionalMeanOfAGaussian) { expect_conditional_mean(coils(1), "eps", {}); }

// Complex images and the Hartley basis of real ones.
TEST(Eps, IsTheConditionalMeanOfAMixture) {
  const Bed bed = t2c_mri1();
  expect_conditional_mean({bed.prior, bed.op, bed.y, bed.sigma_y}, "eps", {});
  std::vector<MixturePrior::Component> components = bed.prior->components();
  for (MixturePrior::Component& component : components) component.mean = component.mean.to(at::kComplexFloat);
  const auto complex_prior = std::make_shared<MixturePrior>(SpectralBasis::kDft, components, PriorInfo{});
  expect_conditional_mean(problem_of(complex_prior, masked_fourier(1)), "eps", {});
}

TEST(Prior, WhiteSpectrumIsWhiteNoise) {
  const auto spectrum = lorentzian_spectrum(8, 0.25);
  const GaussianPrior one(SpectralBasis::kDft, spectrum, at::full({1}, 0.3f), 0.0, {});
  const Bed bed = t2c_mri1();
  for (const double sigma : {0.05, 0.8, 6.0}) {
    const SpectralNoise white(SpectralBasis::kDft, at::full({1, 1, 8, 8}, sigma * sigma, at::kFloat));
    const at::Tensor complex_image = noise(4, 2, {{1, 8, 8}, at::kComplexFloat}), image = noise(4, 2, {{1, 8, 8}, at::kFloat});
    EXPECT_TRUE(one.denoise_under(complex_image, white).equal(one.denoise(complex_image, sigma))) << sigma;
    EXPECT_TRUE(bed.prior->denoise_under(image, white).equal(bed.prior->denoise(image, sigma))) << sigma;
  }
}

TEST(Eps, RefusesWhatItCannotUse) {
  expect_error(ErrorKind::kConfiguration, "diagonal", [] { Bench(hidden_box(), "eps", 1, {1.0}, {}); });
  const auto network = std::make_shared<NetworkPrior>(small_network_prior(SpectralBasis::kDft, 1));
  Bench bench(problem_of(network, masked_fourier(1)), "eps", 1, {1.0}, {});
  expect_error(ErrorKind::kUnavailable, "white noise", [&] { bench.denoise(noise(2, 1, {{1, 8, 8}, at::kComplexFloat}), 1.0); });
}

TEST(Eps, TakesANetworkThatWasTrainedForIt) {
  UNetConfig config;
  config.widths = {8, 16};
  config.blocks = {1, 1};
  config.embedding = 16;
  config.conditions = SpectralNoise::kSummarySize;
  const auto network = std::make_shared<NetworkPrior>(network_prior(SpectralBasis::kDft, 1, config, 8));
  const Problem problem = problem_of(network, masked_fourier(1));
  Bench bench(problem, "eps", 2, {1.0}, {});
  const at::NoGradGuard no_graph;
  const at::Tensor x_t = noise(2, 2, problem.op->domain());
  const Pivot pivot = SpectralMeasurement(SpectralBasis::kDft, bench.likelihood).pivot(x_t, 1.0);
  const at::Tensor expected = network->network().denoise(pivot.z.narrow(0, 1, 1), pivot.noise);
  EXPECT_TRUE(bench.denoise(x_t, 1.0).narrow(0, 1, 1).equal(expected));
  EXPECT_EQ(bench.task.nfe, 1);
}

TEST(Jacobian, MethodsThatNeedItSaySo) {
  struct Opaque : GaussianPrior {
    using GaussianPrior::GaussianPrior;
    at::Tensor denoise(const at::Tensor& x, double sigma) const override { return GaussianPrior::denoise(x.detach(), sigma); }
  };
  const auto prior = std::make_shared<Opaque>(SpectralBasis::kDft, lorentzian_spectrum(8, 0.25), at::zeros({1}), 0.0, PriorInfo{});
  for (const char* method : {"dps", "pigdm", "pigdm-calibrated", "mmps"}) {
    Bench bench(problem_of(prior, masked_fourier(3)), method, 1, {1.0}, {});
    expect_error(ErrorKind::kUnavailable, "differentiated", [&] { bench.denoise(noise(2, 1, {{1, 8, 8}, at::kComplexFloat}), 1.0); });
  }
}

// <v, J d> = <J^T v, d> in real components, J d by central differences: good to (step)^2 and 1e-7/step, so 1e-3 of the size with room.
TEST(Jacobian, IsTheTransposeInRealComponents) {
  std::vector<MixturePrior::Component> components;
  for (const double angle : {0.0, 2.0})
    components.push_back({0.5, at::complex(wave(8, 1, 2, angle), wave(8, 2, 1, 1.0 + angle)), lorentzian_spectrum(8, 0.1)});
  const auto mixture = std::make_shared<MixturePrior>(SpectralBasis::kDft, components, PriorInfo{});
  const auto network = std::make_shared<NetworkPrior>(small_network_prior(SpectralBasis::kDft, 1));
  const TensorSpec spec{{1, 8, 8}, at::kComplexFloat};
  for (const std::shared_ptr<const Prior>& prior : {std::shared_ptr<const Prior>(mixture), std::shared_ptr<const Prior>(network)}) {
    Bench bench(problem_of(prior, masked_fourier(3)), "dps", 1, {0.7}, {});
    const at::Tensor x = noise(5, 1, spec), v = noise(6, 1, spec), d = noise(7, 1, spec);
    const at::NoGradGuard no_graph;
    const DenoisedWithJacobian denoised = bench.task.denoise_with_jacobian(x, 0.7);
    EXPECT_LT((denoised.denoised - prior->denoise(x, 0.7)).abs().max().item<double>(), 1e-5);  // other kernels with a graph
    constexpr double kStep = 1e-2;
    const at::Tensor difference = as_real_rows(prior->denoise(x + kStep * d, 0.7)) - as_real_rows(prior->denoise(x - kStep * d, 0.7));
    const double by_difference = (as_real_rows(v) * difference).sum().item<double>() / (2.0 * kStep);
    const double by_product = (as_real_rows(denoised.jacobian_product(v)) * as_real_rows(d)).sum().item<double>();
    EXPECT_NEAR(by_product, by_difference, 2e-3 * as_real_rows(v).norm().item<double>());
    EXPECT_EQ(bench.task.nfe, 2);
  }
}

// Where a step of `method` goes beyond the prior's own.
at::Tensor change_of_step(const Problem& problem, const std::string& method, const std::map<std::string, double>& settings,
                          const at::Tensor& x_t, const Level& level) {
  const at::NoGradGuard no_graph;
  Bench bench(problem, method, x_t.size(0), {level.sigma, level.next_sigma}, settings);
  LevelRecord record;
  const at::Tensor with = make_method(bench.method, bench.solver, bench.task)->advance(x_t, level, record);
  return with - make_method(find_method("prior"), bench.solver, bench.task)->advance(x_t, level, record);
}

// From D towards the data, with the prior's noise: x at the next level moves by the change of D, for DDPM and for DDIM.
TEST(Dds, MovesTheNextImageByTheProximalStep) {
  const Problem problem = hidden_box();
  const at::Tensor x_t = noise(8, 3, problem.op->domain());
  const double gamma = 5.0;
  const at::Tensor back_projected = problem.op->adjoint(problem.y - problem.op->forward(problem.prior->denoise(x_t, 0.8)));
  const at::Tensor expected = problem.op->normal_solve(1.0 / gamma, back_projected);
  for (const double eta : {0.0, 0.5, 1.0})
    for (const double next : {0.5, 0.0}) {
      const at::Tensor change = change_of_step(problem, "dds", {{"gamma", gamma}, {"iterations", 30}, {"eta", eta}}, x_t, {0, 0.8, next});
      // A few roundings of numbers near 1, over a share of .4 at least.
      EXPECT_LT((change - expected).abs().max().item<double>(), 1e-5) << eta << " " << next;
    }
}

// A mask's A^H A is a projection: one step of conjugate gradients is enough, and more do not overshoot.
TEST(Dds, FewIterationsAreEnoughForAMask) {
  const Problem problem = hidden_box();
  const at::Tensor x_t = noise(8, 3, problem.op->domain());
  const at::Tensor one = change_of_step(problem, "dds", {{"iterations", 1}}, x_t, {0, 0.8, 0.5});
  const at::Tensor five = change_of_step(problem, "dds", {}, x_t, {0, 0.8, 0.5});
  EXPECT_LT((one - five).abs().max().item<double>(), 1e-5);
}

// In the paper's x' = x/(1 + sigma^2)^(1/2): x'_t moves by -zeta/||r|| times the gradient of ||y - A D||^2 over x'_s, along every
// direction.
TEST(Dps, MovesTheNextImageDownTheGradient) {
  const Problem problem = coils(3);
  const at::Tensor x_t = noise(8, 1, problem.op->domain()), d = noise(9, 1, problem.op->domain());
  const Level level{0, 0.8, 0.5};
  const double s_scale = std::sqrt(1.0 + level.sigma * level.sigma), t_scale = std::sqrt(1.0 + level.next_sigma * level.next_sigma);
  const double zeta = 0.7;
  const auto misfit = [&](const at::Tensor& paper_x) {
    const at::Tensor residual = problem.y - problem.op->forward(problem.prior->denoise(paper_x * s_scale, level.sigma));
    return as_real_rows(residual).square().sum().item<double>();
  };
  const at::Tensor paper_x = x_t / s_scale;
  constexpr double kStep = 1e-2;  // the misfit is quadratic: the central difference is exact but for rounding
  const double slope = (misfit(paper_x + kStep * d) - misfit(paper_x - kStep * d)) / (2.0 * kStep);
  const at::Tensor change = change_of_step(problem, "dps", {{"zeta", zeta}}, x_t, level) / t_scale;
  const double expected = -zeta / std::sqrt(misfit(paper_x)) * slope;
  EXPECT_NEAR((as_real_rows(change) * as_real_rows(d)).sum().item<double>(), expected, 1e-3 * std::abs(expected) + 1e-4);
}

// r^2 J^T A^H (r^2 A A^H + sigma_y^2)^-1 (y - A D), for a mask and a Gaussian in numbers that can be written down: J = Q s/(s + sigma^2)
// Q^H.
TEST(Pigdm, MovesTheNextImageByThePublishedWeight) {
  const Problem problem = hidden_box();
  const at::Tensor x_t = noise(8, 2, problem.op->domain());
  const Level level{0, 0.8, 0.5};
  const double r_squared = 0.64 / 1.64;
  const at::Tensor residual = problem.y - problem.op->forward(problem.prior->denoise(x_t, level.sigma));
  const at::Tensor weighted = problem.op->adjoint(residual * (r_squared / (r_squared + problem.sigma_y * problem.sigma_y)));
  const at::Tensor s = lorentzian_spectrum(8, 0.25);
  const at::Tensor expected = SpectralCovariance(SpectralBasis::kDft, s / (s + 0.64)).apply(weighted);
  EXPECT_LT((change_of_step(problem, "pigdm", {}, x_t, level) - expected).abs().max().item<double>(), 1e-5);
}

TEST(Projection, PutsTheNoisyDataInPlace) {
  for (const Problem& problem : {hidden_box(), coils(1), coils(3)})
    for (const double lambda : {1.0, 0.4}) {
      Bench bench(problem, "projection", 2, {0.8}, {{"lambda", lambda}});
      const at::Tensor x_t = noise(8, 2, problem.op->domain());
      const at::Tensor white = bench.task.normal(draw_at(0, Draw::kGuidanceImage), bench.task.image);
      const at::Tensor noisy_data = problem.y + 0.8 * problem.op->forward(white), measured = problem.op->forward(x_t);
      const at::Tensor mixed = bench.guidance->prepare(x_t, {0, 0.8, 0.5});
      // y is noiseless, so in the range of A. CG to 1e-6 of what is measured, times a condition number below 100 with coils.
      const at::Tensor expected = lambda * noisy_data + (1.0 - lambda) * measured;
      EXPECT_LT((problem.op->forward(mixed) - expected).abs().max().item<double>(), 1e-4) << lambda;
      // What is not measured stays: x - x' lies in the range of A^H, as its own projection.
      const at::Tensor change = mixed - x_t;
      Bench again(Problem{problem.prior, problem.op, problem.op->forward(change)[0], problem.sigma_y}, "projection", 1, {0.8}, {});
      const at::Tensor from_zero = -0.8 * bench.task.normal(draw_at(0, Draw::kGuidanceImage), bench.task.image).narrow(0, 0, 1);
      const at::Tensor projected = again.guidance->prepare(-from_zero, {0, 0.8, 0.5}) + from_zero;  // y_t - A x_t = y
      EXPECT_LT((projected - change.narrow(0, 0, 1)).abs().max().item<double>(), 1e-3) << lambda;
    }
}

const char* const kMethods[] = {"dps", "pigdm", "pigdm-calibrated", "mmps", "dds", "projection", "eps"};

at::Tensor run(const Problem& problem, const std::string& method, std::int64_t n_samples, std::int64_t batch_size) {
  SamplerOptions how;
  how.method = method;
  how.n_samples = n_samples;
  how.batch_size = batch_size;
  how.n_steps = 3;
  how.seed = 11;
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  Observer observer;
  return sample(*problem.prior, &likelihood, problem.op->domain().shape, how, observer).x;
}

// Law: reproducible.
TEST(Guidance, reproducible) {
  const int n_threads = at::get_num_threads();
  for (const std::string method : kMethods)
    for (const Problem& problem : {hidden_box(), coils(3), coils(1)}) {
      if (method == "eps" && problem.op->codomain().shape != std::vector<std::int64_t>{1, 8, 8}) continue;
      at::set_num_threads(2);
      const at::Tensor all = run(problem, method, 7, 0);
      at::set_num_threads(1);
      EXPECT_TRUE(all.equal(run(problem, method, 7, 3))) << method;
      EXPECT_TRUE(all.narrow(0, 0, 2).equal(run(problem, method, 2, 1))) << method;
    }
  at::set_num_threads(n_threads);
}

// A network's convolutions see one image at a time, with a graph too.
TEST(Guidance, BitsOfANetworkDoNotDependOnTheBatch) {
  const Problem problem = problem_of(std::make_shared<NetworkPrior>(small_network_prior(SpectralBasis::kDft, 1)), masked_fourier(3));
  for (const std::string method : {"dps", "mmps"}) EXPECT_TRUE(run(problem, method, 3, 0).equal(run(problem, method, 3, 1))) << method;
}

TEST(Guidance, CountsWhatItAsksOfTheNetwork) {
  for (const std::string method : kMethods) {
    Bench bench(coils(1), method, 1, {1.0}, {}, 1e-12);
    bench.denoise(noise(2, 1, {{1, 8, 8}, at::kComplexFloat}), 1.0);
    EXPECT_EQ(static_cast<double>(bench.task.nfe), bench.method.evaluations.with(bench.task.settings)) << method;
  }
}

}  // namespace
}  // namespace postrec::test
