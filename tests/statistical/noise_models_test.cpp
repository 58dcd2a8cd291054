// Photon counts as iterated parabolas: against the exact posterior by importance sampling, and coverage of the truth; the counts
// themselves.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "beds.hpp"
#include "postrec/poisson_transmission.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSide = 8, kPixels = kSide * kSide;

/// Sums along rows, columns and both diagonals: [B, 1, 8, 8] -> [B, 1, 46].
class Rays : public Operator {
 public:
  Rays() {
    const at::Tensor i = at::arange(kSide, at::kLong);
    const at::Tensor row = i.unsqueeze(1).expand({kSide, kSide}).flatten(), column = i.unsqueeze(0).expand({kSide, kSide}).flatten();
    std::vector<at::Tensor> rays;
    for (const at::Tensor& index : {row, column, row + column, row - column + kSide - 1})
      for (std::int64_t k = 0; k <= index.max().item<std::int64_t>(); ++k) rays.push_back(index.eq(k).to(at::kFloat));
    matrix_ = at::stack(rays);
  }
  TensorSpec domain() const override { return {{1, kSide, kSide}, at::kFloat}; }
  TensorSpec codomain() const override { return {{1, matrix_.size(0)}, at::kFloat}; }
  OperatorTraits traits() const override { return {}; }
  at::Tensor forward(const at::Tensor& x) const override { return at::matmul(x.flatten(1), matrix_.t()).unsqueeze(1); }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override { return at::matmul(v.squeeze(1), matrix_).view({-1, 1, kSide, kSide}); }
  double norm_bound() const override { return 1.0001 * at::linalg_svdvals(matrix_).max().item<double>(); }

 private:
  at::Tensor matrix_;
};

/// A random absorber, about 2.4 along a row, seen with so few photons that the logarithm of a count is biased.
class CountingBed {
 public:
  CountingBed(std::uint64_t seed, double blank_scan, double background)
      : blank_scan_(blank_scan), background_(background), prior_(make_prior()),
        truth_(prior_.components()[0].mean +
               SpectralCovariance(SpectralBasis::kDct, prior_.components()[0].spectrum).apply_sqrt(RandomStreams(seed, 0, 1).normal(0, {1, kSide, kSide}, at::kFloat))),
        counts_(make_counts(seed)) {}

  const MixturePrior& prior() const { return prior_; }
  const std::shared_ptr<const Operator>& op() const { return op_; }
  const at::Tensor& truth() const { return truth_; }
  const PoissonTransmission& counts() const { return counts_; }

  GaussianLikelihood around_data() const { return counts_.likelihood(op_, counts_.expand(counts_.line_integrals().unsqueeze(0))); }
  GaussianLikelihood around(const at::Tensor& x) const { return counts_.likelihood(op_, counts_.expand(op_->forward(x))); }
  GaussianLikelihood around_rows(const at::Tensor& rows) const { return around(rows.to(at::kFloat).view({-1, 1, kSide, kSide})); }
  ExactPosterior posterior(const GaussianLikelihood& likelihood) const { return ExactPosterior(prior_, likelihood.op(), likelihood.y(), likelihood.sigma_y()); }

  /// log p(x | counts) up to a constant for rows [n, 64], double [n].
  at::Tensor log_posterior(const at::Tensor& rows) const {
    const at::Tensor l = op_->forward(rows.to(at::kFloat).view({-1, 1, kSide, kSide})).to(at::kDouble).flatten(1);
    const at::Tensor expected = blank_scan_ * (-l).exp() + background_;
    const SpectralCovariance factor(SpectralBasis::kDct, prior_.components()[0].spectrum);
    const at::Tensor f = dense_matrix([&](const at::Tensor& w) { return factor.apply_factor(w); }, op_->domain());
    return (drawn_.to(at::kDouble).flatten() * expected.log() - expected).sum(1) +
           log_gaussian(rows, as_real_rows(prior_.components()[0].mean.unsqueeze(0))[0], f.matmul(f.t()));
  }

  static at::Tensor log_gaussian(const at::Tensor& rows, const at::Tensor& mean, const at::Tensor& covariance) {
    const at::Tensor root = at::linalg_cholesky(covariance);
    return -0.5 * at::linalg_solve_triangular(root, (rows - mean).t(), /*upper=*/false).square().sum(0);
  }

 private:
  static MixturePrior make_prior() {
    const at::Tensor k = at::arange(kSide, at::kDouble);
    const at::Tensor s = (1.0 + k.square().unsqueeze(1) + k.square().unsqueeze(0)).reciprocal();
    return MixturePrior(SpectralBasis::kDct, {{1.0, at::full({1, kSide, kSide}, 0.3), (s * (0.02 / s.mean().item<double>())).to(at::kFloat).unsqueeze(0)}}, {});
  }
  PoissonTransmission make_counts(std::uint64_t seed) {
    const at::Tensor l = op_->forward(truth_.unsqueeze(0).view({1, 1, kSide, kSide}))[0];
    const at::Tensor blank_scan = at::full_like(l, blank_scan_), background = at::full_like(l, background_);
    drawn_ = poisson_counts(blank_scan * (-l).exp() + background, seed);
    return PoissonTransmission(drawn_, blank_scan, background);
  }

  double blank_scan_, background_;
  std::shared_ptr<const Operator> op_ = std::make_shared<Rays>();
  MixturePrior prior_;
  at::Tensor truth_, drawn_;
  PoissonTransmission counts_;
};

/// The mean and standard deviation of the exact posterior: importance sampling from the converged parabolas' Gaussian, double [64].
struct Reference {
  at::Tensor mean, standard_deviation;
  double effective_share = 0.0;

  Reference(const CountingBed& bed, const ExactPosterior& proposal) {
    constexpr std::int64_t kDraws = 40000;
    const at::Tensor x = proposal.sample(kDraws, 999);
    const at::Tensor log_weights = bed.log_posterior(x) - CountingBed::log_gaussian(x, proposal.means[0], proposal.covariances[0]);
    at::Tensor weights = (log_weights - log_weights.max()).exp();
    weights = weights / weights.sum();
    effective_share = 1.0 / (weights.square().sum().item<double>() * kDraws);
    mean = weights.unsqueeze(0).matmul(x).squeeze(0);
    standard_deviation = weights.unsqueeze(0).matmul((x - mean).square()).squeeze(0).sqrt();
  }

  /// Root mean square over pixels of the error of the mean, in posterior standard deviations.
  double distance(const at::Tensor& other_mean) const { return std::sqrt(((other_mean - mean) / standard_deviation).square().mean().item<double>()); }
};

// About 4 photons a ray, 3 of them background. Error of the mean over 40 seeds, mean +- standard deviation: around the data .90 +- .17,
// around 16 samples of that .29 +- .09, around 16 samples of that .096 +- .037, converged .0093 +- .0023, of which the reference brings
// 40000^(-1/2) = .005. Spread over the exact one .996 +- .004, effective share .82 +- .07. Bounds lie 3.6, 4.4, 4.2, 4.5 and more
// standard deviations away: false-alarm rate 2e-4 over seeds, and the seed is fixed.
TEST(PoissonTransmission, IteratedParabolasFindThePosteriorOfCounts) {
  const CountingBed bed(11, 10.0, 3.0);
  const ExactPosterior first = bed.posterior(bed.around_data());
  const ExactPosterior once = bed.posterior(bed.around_rows(first.sample(16, 1)));
  const ExactPosterior twice = bed.posterior(bed.around_rows(once.sample(16, 2)));
  ExactPosterior converged = twice;
  for (int round = 0; round < 6; ++round) converged = bed.posterior(bed.around_rows(converged.sample(1024, 10 + round)));
  const Reference exact(bed, converged);
  EXPECT_GT(exact.effective_share, 0.5);
  EXPECT_GT(exact.distance(first.mean()), 0.3);
  EXPECT_LT(exact.distance(once.mean()), 0.7);
  EXPECT_LT(exact.distance(twice.mean()), 0.25);
  EXPECT_LT(exact.distance(converged.mean()), 0.02);
  EXPECT_NEAR((converged.standard_deviation() / exact.standard_deviation).mean().item<double>(), 1.0, 0.025);
}

// The truth against 90 % intervals of 64 samples, which hold it with probability .9 63/65 = .872 when all is right. Over replicates the
// coverage of 64 pixels has a standard deviation of .07, so the mean of 60 has .009: a band of .04 is 4.4 of them, false-alarm rate 1e-5.
// Around the data alone .71 is what comes out: ten of them below .82.
TEST(PoissonTransmission, IntervalsHoldTheTruth) {
  constexpr int kReplicates = 60;
  SamplerOptions options;
  options.n_steps = 6;
  double around_the_data = 0.0, iterated = 0.0;
  for (int replicate = 0; replicate < kReplicates; ++replicate) {
    const CountingBed bed(100 + replicate, 10.0, 3.0);
    Observer observer;
    const auto draw = [&](const GaussianLikelihood& likelihood, std::int64_t n, std::uint64_t seed) {
      options.n_samples = n;
      options.seed = seed;
      return sample(bed.prior(), &likelihood, bed.op()->domain().shape, options, observer).x;
    };
    const auto coverage = [&](const at::Tensor& x) {
      const at::Tensor bounds = at::quantile(x.flatten(1), at::tensor({0.05f, 0.95f}), 0), truth = bed.truth().flatten();
      return truth.ge(bounds[0]).logical_and(truth.le(bounds[1])).to(at::kDouble).mean().item<double>();
    };
    const GaussianLikelihood around_data = bed.around_data();
    const GaussianLikelihood once = bed.around(draw(around_data, 16, 1)), twice = bed.around(draw(once, 16, 2));
    around_the_data += coverage(draw(around_data, 64, 3)) / kReplicates;
    iterated += coverage(draw(twice, 64, 3)) / kReplicates;
  }
  EXPECT_NEAR(iterated, 0.9 * 63 / 65, 0.04);
  EXPECT_LT(around_the_data, 0.82);
}

// The whole distribution, with both methods, against its probabilities: chi-square with pooled tails. 200,000 draws a mean.
TEST(PoissonCounts, HaveTheirDistribution) {
  constexpr std::int64_t kDraws = 200000;
  std::uint64_t seed = 3;
  for (const double mean : {0.02, 0.7, 4.0, 9.99, 10.0, 10.3, 37.0, 400.0}) {
    const at::Tensor counts = poisson_counts(at::full({kDraws}, mean), seed++);
    const auto largest = static_cast<std::int64_t>(std::ceil(mean + 10.0 * std::sqrt(mean) + 10.0));
    ASSERT_LE(counts.max().item<double>(), static_cast<double>(largest));
    const at::Tensor seen = at::histc(counts, largest + 1, -0.5, static_cast<double>(largest) + 0.5).to(at::kDouble).contiguous();
    double chi2 = 0.0, expected = 0.0, observed = 0.0;
    int cells = 0;
    for (std::int64_t k = 0; k <= largest; ++k) {
      expected += kDraws * std::exp(k * std::log(mean) - mean - std::lgamma(k + 1.0));
      observed += seen[k].item<double>();
      if (expected < 10.0 && k < largest) continue;  // cells of at least ten; the last one may be smaller and then only adds to the sum
      if (expected >= 10.0) {
        chi2 += (observed - expected) * (observed - expected) / expected;
        ++cells;
      }
      expected = observed = 0.0;
    }
    // Wilson and Hilferty: the cube root of chi2/k is normal. z of 4.5 in eight means: false-alarm rate 3e-5.
    const double k = cells > 1 ? cells - 1 : 1;
    const double z = (std::cbrt(chi2 / k) - (1.0 - 2.0 / (9.0 * k))) / std::sqrt(2.0 / (9.0 * k));
    EXPECT_LT(std::abs(z), 4.5) << "mean " << mean << ", chi-square " << chi2 << " in " << cells << " cells";
  }
}

// What inversion and rejection cannot show cell by cell: mean and variance at many photons. Standard errors of mean and variance are
// (mu/n)^(1/2) and mu (2/n)^(1/2).
TEST(PoissonCounts, ManyPhotons) {
  constexpr std::int64_t kDraws = 200000;
  for (const double mean : {1e4, 1e6}) {
    const at::Tensor counts = poisson_counts(at::full({kDraws}, mean), 5).to(at::kDouble);
    EXPECT_LT(std::abs(counts.mean().item<double>() - mean) / std::sqrt(mean / kDraws), 4.5) << mean;
    EXPECT_LT(std::abs(counts.var().item<double>() - mean) / (mean * std::sqrt(2.0 / kDraws)), 4.5) << mean;
  }
}

}  // namespace
}  // namespace postrec::test
