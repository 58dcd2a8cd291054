#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "expect_error.hpp"
#include "methods/flat_draw.hpp"
#include "methods/operator_root.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

struct Problem {
  std::shared_ptr<const Prior> prior;
  std::shared_ptr<const Operator> op;
  at::Tensor y;
  double sigma_y;
};

Problem masking_problem() {
  const auto op = std::make_shared<MaskOperator>(hole(23, 5, 12), 1, at::kFloat);
  const at::Tensor spectrum = lorentzian_spectrum(24, 0.2);
  const auto prior = std::make_shared<GaussianPrior>(SpectralBasis::kDct, spectrum, at::full({1}, 0.1f), 0.0, PriorInfo{});
  return {prior, op, op->forward(wave(23, 1, 2, 0).unsqueeze(0))[0], 0.05};
}

Problem coil_problem(std::int64_t n_coils) {
  at::Tensor mask = at::zeros({14, 17});
  for (std::int64_t row = 0; row < 14; row += 3) mask[row].fill_(1.0);
  const at::Tensor maps = n_coils == 1 ? at::ones({1, 14, 17}, at::kComplexFloat) : ring_of_coils(n_coils, 14, 17);
  const auto op = std::make_shared<CoilOperator>(maps, mask);
  const auto prior = std::make_shared<GaussianPrior>(SpectralBasis::kDft, lorentzian_spectrum(24, 0.2), at::zeros({1}), 0.0, PriorInfo{});
  return {prior, op, op->forward(RandomStreams(1, 0, 1).normal(0, {1, 14, 17}, at::kComplexFloat))[0], 0.1};
}

Samples run(const Problem& problem, const SamplerOptions& how) {
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  Observer observer;
  return sample(*problem.prior, &likelihood, problem.op->domain().shape, how, observer);
}

SamplerOptions options(const std::string& method, std::map<std::string, double> settings = {}) {
  SamplerOptions result;
  result.method = method;
  result.settings = std::move(settings);
  result.n_samples = 6;
  result.n_steps = 4;
  result.seed = 11;
  return result;
}

/// Every walk of its own with settings that are quick and reach all of its code.
std::vector<SamplerOptions> walks() {
  return {options("annealed-langevin", {{"steps-per-level", 2}}),
          options("daps", {{"langevin-steps", 7}, {"ode-steps", 2}}),
          options("daps-exact", {{"ode-steps", 3}}),
          options("diffpir", {{"zeta", 0.4}}),
          options("preconditioned-langevin", {{"steps-per-level", 2}}),
          options("split-gibbs", {{"sde-steps", 3}, {"start-steps", 2}, {"group", 2}, {"rho", 0.5}, {"burn-in", 0.5}})};
}

// Law: reproducible, for each walk: not the batch, nor the threads, nor how many samples there are.
void expect_reproducible(const Problem& problem, SamplerOptions how) {
  at::set_num_threads(2);
  const at::Tensor all = run(problem, how).x;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    how.batch_size = 2 * threads;
    EXPECT_TRUE(at::equal(run(problem, how).x, all)) << how.method << " batch " << how.batch_size << " threads " << threads;
  }
  how.n_samples = 2;
  EXPECT_TRUE(at::equal(run(problem, how).x, all.narrow(0, 0, 2))) << how.method;
  how.seed = 12;
  EXPECT_FALSE(at::equal(run(problem, how).x, all.narrow(0, 0, 2))) << how.method;
  // No sample is another's copy.
  EXPECT_FALSE(at::equal(all[0], all[1])) << how.method;
}

TEST(Walks, reproducible) {
  for (const SamplerOptions& how : walks()) {
    expect_reproducible(masking_problem(), how);
    expect_reproducible(coil_problem(3), how);
  }
  expect_reproducible(masking_problem(), options("ddrm"));
  expect_reproducible(coil_problem(1), options("ddrm"));
}

// One evaluation where the flow begins at the prior's lowest level; split Gibbs has a start.
TEST(Walks, CountEvaluations) {
  const std::map<std::string, std::int64_t> expected = {{"annealed-langevin", 4 * 2},       {"daps", 3 * 2 + 1}, {"daps-exact", 3 * 3 + 1},
                                                        {"preconditioned-langevin", 4 * 2}, {"diffpir", 4},      {"split-gibbs", 2 + 4 * 3}};
  for (const SamplerOptions& how : walks()) EXPECT_EQ(run(masking_problem(), how).report.nfe, expected.at(how.method)) << how.method;
  EXPECT_EQ(run(masking_problem(), options("ddrm")).report.nfe, 4);
  // Without a measurement the noise that is left is taken out by one more.
  const Problem problem = masking_problem();
  Observer observer;
  EXPECT_EQ(sample(*problem.prior, nullptr, {1, 23, 23}, walks()[0], observer).report.nfe, 4 * 2 + 1);
}

// Every level says how far the image is from the data; where the last image is the sample, that is the sample's own.
TEST(Walks, SayTheMisfit) {
  std::vector<SamplerOptions> all = walks();
  all.push_back(options("ddrm"));
  const Problem problem = masking_problem();
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  for (const SamplerOptions& how : all) {
    const Samples samples = run(problem, how);
    ASSERT_EQ(samples.report.misfit_trace.size(), samples.report.sigmas.size()) << how.method;
    for (const double misfit : samples.report.misfit_trace) EXPECT_GT(misfit, 0.0) << how.method;
    // Single precision, summed in another order.
    const double own = likelihood.reduced_chi2(samples.x).mean().item<double>();
    if (how.method == "ddrm") {
      EXPECT_NEAR(samples.report.misfit_trace.back() / own, 1.0, 1e-5);
    }
  }
}

// Where the data have far less noise than x0 has spread, rounding must not become a draw of what they do not see: with sigma_y alone 0 is taken to be measured to 1e-7, and its inverse is 1e12.
TEST(Walks, WhiteDrawsKeepTheirSpreadWhereNoiseIsLittle) {
  const Problem problem = coil_problem(1);
  const double sigma = 100.0, next_sigma = 60.0;
  const GaussianLikelihood likelihood(problem.op, problem.y, 1e-4);
  const SamplingTask task{*problem.prior, &likelihood, problem.op->domain(), at::kCPU, 3, 0, 8, {}, make_noise_process("edm", {}), {sigma}, {}};
  const RandomStreams streams(5, 0, 8);
  const at::Tensor white = streams.normal(0, {1, 14, 17}, at::kComplexFloat);
  LevelRecord record;
  const at::Tensor x0 = draw_about(task, at::zeros_like(white), sigma * sigma, white, streams.normal(1, problem.op->codomain().shape, at::kComplexFloat), next_sigma, record);
  const auto rms = [](const at::Tensor& x) { return at::view_as_real(x).square().mean().sqrt().item<double>(); };
  EXPECT_LT(rms(problem.op->forward(x0) - problem.y), 0.1 * next_sigma);
  // 9 of 14 rows of k-space are not seen; 8 x 306 numbers have a standard error of 1.4 % (two degrees each): five of them.
  EXPECT_NEAR(rms(x0), sigma * std::sqrt(9.0 / 14.0), 0.07 * sigma);
}

TEST(Walks, DdrmRefusesWhatItCannotDecompose) {
  expect_error(ErrorKind::kConfiguration, "bridge or diffpir", [] { run(coil_problem(3), options("ddrm")); });
}

// Below the noise of the data the last sweeps of split Gibbs have rho ||A|| < sigma_y, and the first fall from the setting.
TEST(Walks, SplitGibbsFallsBelowTheNoise) {
  SamplerOptions how = options("split-gibbs", {{"sde-steps", 1}, {"start-steps", 0}, {"burn-in", 0.75}});
  how.n_steps = 8;
  const std::vector<double> rho = run(masking_problem(), how).report.sigmas;
  ASSERT_EQ(rho.size(), 8u);
  EXPECT_EQ(rho.front(), 1.0);
  for (std::size_t i = 1; i < 7; ++i) EXPECT_LT(rho[i], rho[i - 1]);
  EXPECT_DOUBLE_EQ(rho[6], 0.98 * 0.05);
  EXPECT_EQ(rho[7], rho[6]);
}

// (I - M)^(1/2) against its dense counterpart, whose columns are of norm 1 at most: entries within the tolerance and single precision's
// rounding.
TEST(OperatorRoot, IsThatOfTheDenseMatrix) {
  const Problem problem = coil_problem(3);
  const Operator& op = *problem.op;
  const double share = 0.98 / op.norm_bound();
  const auto matrix = [&](const at::Tensor& x) { return from_real_rows(as_real_rows(op.normal(x)) * (share * share), op.domain()); };
  const at::Tensor m = dense_matrix(matrix, op.domain());
  const auto [values, vectors] = at::linalg_eigh(at::eye(m.size(0), at::kDouble) - (m + m.t()) * 0.5);
  const at::Tensor root = vectors.matmul(values.clamp_min(0.0).sqrt().unsqueeze(1) * vectors.t());
  for (const double tolerance : {1e-2, 1e-4}) {
    const auto expansion = [&](const at::Tensor& x) { return root_of_one_minus(matrix, 0.98 * 0.98, x, tolerance); };
    const at::Tensor expanded = dense_matrix(expansion, op.domain());
    EXPECT_LE(at::linalg_matrix_norm(expanded - root, 2).item<double>(), tolerance + 2e-6);
  }
  // Far from the tolerance when the bound is not one: the test above can fail.
  const at::Tensor wrong = dense_matrix([&](const at::Tensor& x) { return root_of_one_minus(matrix, 0.5, x, 1e-4); }, op.domain());
  EXPECT_GT(at::linalg_matrix_norm(wrong - root, 2).item<double>(), 1e-2);
  const at::Tensor zero = at::zeros({1, 1, 14, 17}, at::kComplexFloat);
  expect_error(ErrorKind::kInternal, "no short expansion", [&] { root_of_one_minus(matrix, 1.0, zero, 1e-4); });
}

}  // namespace
}  // namespace postrec::test
