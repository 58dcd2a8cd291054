#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec {

// Does a sampler tell the truth about what it does not know? Everything here compares a truth with N samples of its posterior. When the
// truth is itself a draw of the prior and the measurement was made of it, truth and samples are N + 1 draws of one distribution and can be
// exchanged; each figure below follows from that alone and needs no posterior in closed form. [Talts 2018]

enum class CalibrationVerdict {
  kCalibrated,
  kOverConfident,                              ///< the samples are closer together than to the truth
  kUnderConfident,                             ///< they are further apart
  kBiased,                                     ///< they lie to one side of the truth
  kNotEnough,                                  ///< nothing wrong was seen, but too little was looked at to see it
};

/// "calibrated", "over-confident", "under-confident", "biased", "not enough replicates".
const char* verdict_name(CalibrationVerdict verdict);

/// Where each truth [K] stands among its samples [N, K]: the number of samples below it, 0..N, int64 [K]. A truth that equals some of them takes any of
/// its possible places by `uniform` [K] in [0, 1), so that ranks of calibrated samples are even on 0..N for quantities with ties too. [Talts 2018]
at::Tensor ranks_of(const at::Tensor& truth, const at::Tensor& samples, const at::Tensor& uniform);

/// A band that the counts of R independent ranks of a calibrated sampler stay in, all at once, with probability 1 - false_alarm.
///
/// For k = 1..N the number of ranks below k is binomial. The band holds its central 1 - g at every k, and g is the largest for which
/// the probability of leaving the band anywhere, computed exactly by a recursion over k, is not above what was asked. [Saeilynoja 2022, algorithm 2]
struct RankBand {
  std::int64_t n_replicates = 0;
  std::int64_t n_samples = 0;
  double false_alarm = 0.0;                    ///< exact, at most what was asked: ranks are whole numbers
  double power = 0.0;                          ///< probability to find standard deviations that are kNoticedSpread of the right ones
  std::vector<std::int64_t> lower;             ///< [N], for k = 1..N, inclusive
  std::vector<std::int64_t> upper;
};

/// What a band is asked to find before its silence says anything: with `power` below kEnoughPower there are not enough replicates.
inline constexpr double kNoticedSpread = 2.0 / 3.0;
inline constexpr double kEnoughPower = 0.8;

/// Throws Error(kUsage) unless there are a replicate, a sample, and 0 < false_alarm < 1.
RankBand rank_band(std::int64_t n_replicates, std::int64_t n_samples, double false_alarm);

/// The exact probability that ranks with these probabilities [N + 1] stay inside the band.
double probability_inside(const RankBand& band, const std::vector<double>& rank_probabilities);

/// Of the ranks of a standard normal truth among N normal samples whose standard deviation is `spread`, [N + 1].
std::vector<double> rank_probabilities(std::int64_t n_samples, double spread);

struct RankJudgement {
  bool inside = false;
  double excess = 0.0;                         ///< largest distance of the ECDF from that of even ranks
  double shift = 0.0;                          ///< mean rank, in standard errors from its expectation
  double extremes = 0.0;                       ///< mean distance of the ranks from the middle, likewise; positive: over-confident
  CalibrationVerdict verdict = CalibrationVerdict::kNotEnough;
};

/// Throws Error(kUsage) unless there are as many ranks as the band is for.
RankJudgement judge_ranks(const std::vector<std::int64_t>& ranks, const RankBand& band);

/// Of the true values, which share lies inside intervals between samples. Where the level lies between those that two pairs of samples hold, it is the mixture of
/// their shares: right for any distribution, while an interval between the two (as summarize makes) holds up to .01 more of a normal one.
struct Coverage {
  double level = 0.0;                          ///< asked for
  double expected = 0.0;                       ///< what N samples can bound of it: at most (N - 1)/(N + 1)
  double covered = 0.0;
};

/// samples [N, K], truth [K]; of complex images the magnitudes. One entry a level; these are to be at least 1/(N + 1).
std::vector<Coverage> coverage_of(const at::Tensor& samples, const at::Tensor& truth, const std::vector<double>& levels);

/// Error of the mean of N samples, and what they say that it is: (1 + 1/N) times their variance, sums over real components. Their expectations are
/// equal for a calibrated sampler, so the sums may be added up over components, slices and replicates before they are divided.
struct ErrorAndSpread {
  double squared_error = 0.0;
  double expected = 0.0;

  double chi2() const { return squared_error / expected; }   ///< 1 when right, above: over-confident
  double spread_over_rmse() const;                           ///< chi2^(-1/2)
  ErrorAndSpread& operator+=(const ErrorAndSpread& other);
};

/// samples [N, ...], N >= 2, truth [...]; real or complex. Throws Error(kUsage) on fewer samples.
ErrorAndSpread error_and_spread(const at::Tensor& samples, const at::Tensor& truth);

/// The part of images that the measurement says nothing or little about: lambda (A^H A + lambda I)^-1 x, [B, domain] -> [B, domain]. With
/// lambda = (sigma_y/s)^2, s the prior's standard deviation, a direction of which A keeps the share a counts 1/(1 + (a s/sigma_y)^2); where A^H A is a projection and
/// sigma_y small this is the projection onto the null space. By normal_solve, or conjugate gradients to 1e-4. Throws Error(kUsage) unless lambda > 0.
at::Tensor unmeasured_part(const Operator& op, double lambda, const at::Tensor& x);

/// Parts of an image, bool [K, H, W]: rows x columns blocks that fill it, or the largest disc in each of these. Throws Error(kUsage)
/// when there are more blocks than pixels along an axis.
at::Tensor block_regions(std::int64_t height, std::int64_t width, std::int64_t rows, std::int64_t columns);
at::Tensor disc_regions(std::int64_t height, std::int64_t width, std::int64_t rows, std::int64_t columns);
/// The regions of which at least half lies in `object`, bool [H, W], and of them what does; all as they are when there is none.
at::Tensor regions_inside(const at::Tensor& regions, const at::Tensor& object);
/// Mean of each region over pixels and channels, x real [B, C, H, W] -> double [B, K]. Throws Error(kUsage) on a region without a pixel.
at::Tensor means_over_regions(const at::Tensor& x, const at::Tensor& regions);

/// Kernel Stein discrepancy of points from the distribution with these scores, V-statistic, kernel (c^2 + |x - z|^2)^(-1/2), c the median distance of
/// the points; and the share of `n_bootstrap` wild bootstraps (random signs) with a larger one. Points must be independent of each other.
/// Even p-values mean that the points have that distribution. [Liu 2016; Chwialkowski 2016; Gorham 2017]
struct SteinDiscrepancy {
  double value = 0.0;
  double p_value = 1.0;
};

/// points and scores: real [n, d], n >= 2. `seed` names the signs. Throws Error(kUsage) on another shape.
SteinDiscrepancy stein_discrepancy(const at::Tensor& points, const at::Tensor& scores, std::int64_t n_bootstrap, std::uint64_t seed);

}  // namespace postrec
