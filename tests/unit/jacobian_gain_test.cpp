// The gain that the denoiser's Jacobian tells, for a covariance V = sigma^2 J given outright.
#include "methods/jacobian_gain.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 8;
constexpr double kNoise = 0.1, kSigma = 0.5;
const SolveOptions kSolve = {1e-7, 2000};

/// Three rows in four of an image, for x0 ~ N(0, V).
struct Problem {
  std::shared_ptr<const Operator> op = std::make_shared<MaskOperator>(hole(kSize, 2, 5), 1, at::kFloat);
  at::Tensor y = op->forward(RandomStreams(1, 0, 1).normal(0, {1, kSize, kSize}, at::kFloat))[0];
  GaussianLikelihood likelihood{op, y, kNoise};
  SpectralCovariance right{SpectralBasis::kDft, lorentzian_spectrum(kSize, 0.25)};

  /// V but for a share `far` of it, most at low frequencies.
  SpectralCovariance off_by(double far) const {
    const at::Tensor low = lorentzian_spectrum(kSize, 0.1);
    return {SpectralBasis::kDft, right.eigenvalues() * (1.0 + far * low / low.max())};
  }

  /// The draw by C from these white noises about a denoised image of 0, and what the gain by `jacobian` makes of it.
  struct Draws {
    at::Tensor by_table, by_jacobian;
  };
  template <class Jacobian>
  Draws draws(const SpectralCovariance& table, const at::Tensor& white_image, const at::Tensor& white_data, const Jacobian& jacobian) const {
    const at::Tensor zero = at::zeros_like(white_image);
    SolveReport report;
    const at::Tensor x0 = likelihood.draw_posterior(zero, table, white_image, white_data, kSolve, report);
    return {x0, with_gain_of_jacobian(x0, {zero, jacobian}, kSigma, likelihood, table, white_data, kSolve, report)};
  }

  /// sigma^2 J = `covariance`.
  static auto jacobian_of(const SpectralCovariance& covariance) {
    return [covariance](const at::Tensor& v) { return covariance.apply(v) / (kSigma * kSigma); };
  }

  at::Tensor white_image(std::int64_t batch) const { return RandomStreams(2, 0, batch).normal(0, op->domain().shape, at::kFloat); }
  at::Tensor white_data(std::int64_t batch) const { return RandomStreams(3, 0, batch).normal(0, op->codomain().shape, at::kFloat); }
};

double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).norm().item<double>(); }

// Single precision and conjugate gradients leave about 1e-6 of the draw.
TEST(JacobianGain, AddsNothingToARightTable) {
  const Problem problem;
  const auto draws = problem.draws(problem.right, problem.white_image(3), problem.white_data(3), Problem::jacobian_of(problem.right));
  EXPECT_LT(distance(draws.by_jacobian, draws.by_table), 1e-4 * draws.by_table.norm().item<double>());
}

// The mean errs by a term linear in C - V with the gain of the table, and by a square with the Jacobian's: half as far off, a quarter of the error.
TEST(JacobianGain, IsRightToFirstOrder) {
  const Problem problem;
  const at::Tensor no_image = at::zeros_like(problem.white_image(1)), no_data = at::zeros_like(problem.white_data(1));
  const at::Tensor mean = problem.draws(problem.right, no_image, no_data, Problem::jacobian_of(problem.right)).by_table;
  const auto errors = [&](double far) {
    const auto draws = problem.draws(problem.off_by(far), no_image, no_data, Problem::jacobian_of(problem.right));
    return std::pair(distance(draws.by_table, mean), distance(draws.by_jacobian, mean));
  };
  const auto [table_far, jacobian_far] = errors(0.2);
  const auto [table_near, jacobian_near] = errors(0.1);
  EXPECT_NEAR(table_far / table_near, 2.0, 0.3);
  EXPECT_NEAR(jacobian_far / jacobian_near, 4.0, 0.6);
  EXPECT_LT(jacobian_near, 0.2 * table_near);
}

// Whatever the gain K, draws are spread by (I - K A) C (I - K A)^H + sigma_y^2 K K^H: as the mean errs when the table is right and the Jacobian is not. With V below C
// the step is 1, so that a draw is affine in y and in the noises; K and the spread are then known from unit vectors.
TEST(JacobianGain, DrawsAreSpreadAsTheirMeanErrs) {
  const Problem problem;
  const SpectralCovariance wrong = problem.off_by(-0.7);
  const TensorSpec domain = problem.op->domain(), codomain = problem.op->codomain();
  const std::int64_t n = real_size(domain), m = real_size(codomain);
  const auto rows = [&](const at::Tensor& noises) {
    return as_real_rows(problem.draws(problem.right, from_real_rows(noises.narrow(1, 0, n).contiguous(), domain), from_real_rows(noises.narrow(1, n, m).contiguous(), codomain),
                                      Problem::jacobian_of(wrong)).by_jacobian);
  };
  const at::Tensor draws = rows(at::cat({at::zeros({1, n + m}, at::kDouble), at::eye(n + m, at::kDouble)}));
  const at::Tensor response = (draws.narrow(0, 1, n + m) - draws[0]).t();
  const at::Tensor gain = response.narrow(1, n, m) / kNoise, a = dense_matrix([&](const at::Tensor& x) { return problem.op->forward(x); }, domain);
  const at::Tensor c = dense_matrix([&](const at::Tensor& x) { return problem.right.apply(x); }, domain);
  const at::Tensor left = at::eye(n, at::kDouble) - gain.matmul(a);
  const at::Tensor expected = left.matmul(c).matmul(left.t()) + kNoise * kNoise * gain.matmul(gain.t());
  EXPECT_LT(distance(response.matmul(response.t()), expected), 1e-3 * expected.norm().item<double>());
  // Or the gain would be the table's.
  EXPECT_GT(distance(gain, dense_matrix([&](const at::Tensor& r) { SolveReport report; return problem.likelihood.gain(r, problem.right, kSolve, report); }, codomain)),
            0.02 * gain.norm().item<double>());
}

// A Jacobian that is far too large, or far from symmetric, moves a draw no farther than the table's own gain does, one without positive curvature not at all.
TEST(JacobianGain, DoesNotFollowAJacobianThatIsFarOff) {
  const Problem problem;
  const at::Tensor white_image = problem.white_image(2), white_data = problem.white_data(2);
  const SpectralCovariance table = problem.off_by(0.2);
  const auto large = problem.draws(table, white_image, white_data, Problem::jacobian_of({SpectralBasis::kDft, problem.right.eigenvalues() * 1000.0}));
  const double own_gain = distance(large.by_table, table.apply_factor(white_image));
  EXPECT_LT(distance(large.by_jacobian, large.by_table), own_gain);
  // v^H B v = 0, so curvature sees nothing of B.
  const auto askew = problem.draws(table, white_image, white_data, [&](const at::Tensor& v) {
    return Problem::jacobian_of(problem.right)(v) + 100.0 * (v.roll(1, -1) - v.roll(-1, -1));
  });
  EXPECT_LT(distance(askew.by_jacobian, askew.by_table), own_gain);
  const auto negative = problem.draws(table, white_image, white_data, [&](const at::Tensor& v) { return -problem.right.apply(v) * 100.0; });
  EXPECT_TRUE(at::equal(negative.by_jacobian, negative.by_table));
}

// As above, J + t B. Up to twice the error of the denoised image the draw is moved by as much as t says, and the less the farther beyond.
TEST(JacobianGain, IsHeldBackWhereTheJacobianTurnsAside) {
  const Problem problem;
  const at::Tensor white_image = problem.white_image(1), white_data = problem.white_data(1);
  const double error = std::sqrt(problem.right.eigenvalues().sum().item<double>());
  const auto moved = [&](double t) {
    const auto draws = problem.draws(problem.right, white_image, white_data, [&](const at::Tensor& v) {
      return Problem::jacobian_of(problem.right)(v) + t * (v.roll(1, -1) - v.roll(-1, -1));
    });
    return distance(draws.by_jacobian, draws.by_table) / error;
  };
  const double of_one = moved(1e-2) / 1e-2;
  EXPECT_NEAR(moved(1.9 / of_one), 1.9, 0.02);
  EXPECT_NEAR(moved(20.0 / of_one), 4.0 / 20.0, 0.01);
}

/// A prior whose table was measured and whose answers have no derivative.
struct Opaque : GaussianPrior {
  using GaussianPrior::GaussianPrior;
  bool error_covariance_is_measured() const override { return true; }
  at::Tensor denoise(const at::Tensor& x, double sigma) const override { return GaussianPrior::denoise(x.detach(), sigma); }
};

TEST(JacobianGain, IsDoneWithoutWhereThereIsNoJacobian) {
  struct Messages : Observer {
    void on_message(const std::string& text) override { all.push_back(text); }
    std::vector<std::string> all;
  };
  const Problem problem;
  const Opaque prior(SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.25).roll({-kSize / 2, -kSize / 2}, {-2, -1}), at::zeros({1}), 0.0, PriorInfo{"opaque"});
  SamplerOptions options;
  options.n_samples = 4;
  options.batch_size = 2;
  options.n_steps = 8;
  const auto walk = [&](double to, Messages& messages) {
    options.settings = {{"jacobian-from", 0.0}, {"jacobian-to", to}};
    return sample(prior, &problem.likelihood, {1, kSize, kSize}, options, messages);
  };
  Messages wanted, unwanted;
  const Samples without = walk(1.0, wanted), by_table = walk(0.0, unwanted);
  EXPECT_TRUE(at::equal(without.x, by_table.x));
  EXPECT_EQ(without.report.nfe, 8);
  ASSERT_EQ(wanted.all.size(), 1u);
  EXPECT_NE(wanted.all[0].find("cannot be differentiated"), std::string::npos);
  EXPECT_TRUE(unwanted.all.empty());
}

}  // namespace
}  // namespace postrec::test
