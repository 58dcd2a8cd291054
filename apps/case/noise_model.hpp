#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postrec/likelihood.hpp"
#include "postrec/measurement.hpp"
#include "postrec/observer.hpp"
#include "postrec/prior.hpp"
#include "postrec/sampler.hpp"
#include "postrec/whitened_operator.hpp"

namespace postrec {

enum class NoiseKind { kGaussian, kWeighted, kPoisson };

/// What the user says about the noise, apart from how large it is.
struct NoiseOptions {
  NoiseKind kind = NoiseKind::kGaussian;
  bool kind_given = false;                     ///< the user said it; else a measurement may
  std::filesystem::path covariance;            ///< kGaussian: E[n n^H] over the coils, [coil, coil]; empty: white
  std::filesystem::path weights;               ///< kWeighted: the variance of an entry is sigma_y^2 / weight
  std::string blank_scan;                      ///< kPoisson: photons without an object, a number or a file
  std::string background;                      ///< kPoisson: photons that the object does not absorb, a number or a file; empty: none
  int expansions = 2;                          ///< kPoisson: how often the parabolas are taken anew around samples
};

/// What the sampler is asked about a slice, and what finding it took.
struct FoundLikelihood {
  GaussianLikelihood likelihood;               ///< in model units
  std::int64_t nfe = 0;                        ///< network evaluations per sample of the small runs, together
  double seconds = 0.0;
  bool interrupted = false;                    ///< during the small runs, so that the likelihood is not what it would be
  bool repeatable = true;                      ///< the same options give it again; not where a deadline, and so the clock, ends the small runs
};

/// The noise of one slice. Images and measurements are single ones in physical units, without a batch axis.
class SliceNoise {
 public:
  /// White noise.
  SliceNoise() = default;
  explicit SliceNoise(std::shared_ptr<const Whitening> whitening) : whitening_(std::move(whitening)) {}
  /// float32 [codomain]; where a weight is 0 nothing was measured.
  explicit SliceNoise(const at::Tensor& weights) : whitening_(std::make_shared<EntryWeights>(weights)), measured_(weights.gt(0)) {}
  /// Photon counts: float32 [codomain] each.
  SliceNoise(at::Tensor blank_scan, at::Tensor background, int expansions)
      : measured_(blank_scan.gt(0)), blank_scan_(std::move(blank_scan)), background_(std::move(background)), expansions_(expansions) {}

  /// What is measured of x; `seed` names the noise.
  at::Tensor simulate(const Operator& op, const at::Tensor& x, double sigma_y, std::uint64_t seed) const;

  /// What A x is to be compared with: y itself, or the line integrals of counts. Rays that were not measured lie between their neighbours (fill_unmeasured_rays).
  at::Tensor linear_data(const at::Tensor& y) const;

  /// The likelihood of images in units of `scale`. For counts, 8 samples are drawn and the parabolas taken anew around them, `expansions`
  /// times. Throws what GaussianLikelihood, PoissonTransmission and sample() throw; when the observer cancels, it returns what it has.
  FoundLikelihood likelihood(const std::shared_ptr<const Operator>& op, const at::Tensor& y, double sigma_y, double scale,
                             const Prior& prior, const SamplerOptions& options, Observer& observer) const;

 private:
  FoundLikelihood count_likelihood(const std::shared_ptr<const Operator>& op, const at::Tensor& y, double scale, const Prior& prior,
                                   const SamplerOptions& options, Observer& observer) const;

  std::shared_ptr<const Whitening> whitening_;  ///< null: white
  at::Tensor measured_;                         ///< bool [codomain]; undefined: all
  at::Tensor blank_scan_, background_;          ///< undefined: no counts
  int expansions_ = 0;
};

/// --blank-scan and --background: a number of photons for all, or those of a file (read_tensor), which must be real. Throws Error: what read_tensor throws, kUsage (none, or fewer than none).
at::Tensor read_blank_scan(const std::string& number_or_file);
at::Tensor read_background(const std::string& number_or_file);

/// --weights: real numbers of a file. Throws Error: what read_tensor throws, kBadData.
at::Tensor read_weights(const std::filesystem::path& file);

/// What leave_out_dead_rays() left out, over all slices.
struct DeadRays {
  std::int64_t elements = 0, views = 0;
};

/// The noise of a measurement, its files read.
class NoiseModel {
 public:
  /// White noise.
  NoiseModel() = default;
  /// `n_slices`: of the input; a file holds one slice for all, or as many. Throws Error: what read_tensor throws, kUsage (an option is
  /// missing or does not fit the kind), kBadData (a file holds what cannot be right).
  NoiseModel(const NoiseOptions& options, std::int64_t n_slices);
  /// Of a measurement that says itself that it holds photon counts: kPoisson. What `options` say goes first; kUsage where they say another kind.
  NoiseModel(const PhotonCounts& counts, const NoiseOptions& options, std::int64_t n_slices);
  /// Weights in the layout of all of y, which the reader knows: kWeighted.
  explicit NoiseModel(const at::Tensor& weights);

  NoiseKind kind() const { return options_.kind; }
  /// Nothing but sigma_y says how noisy each entry is.
  bool is_white() const { return kind() == NoiseKind::kGaussian && !coils_; }

  /// Leaves out detector elements of photon counts y [slice, view, detector] that count nothing above the background in any view of a slice, and views in which no element does: they are dead, and
  /// not behind something dense. Throws Error(kBadData) for a slice of which nothing is left.
  DeadRays leave_out_dead_rays(const at::Tensor& y);

  /// Takes the covariance for that of one of the `n` measurements whose means the samples are.
  void divide_covariance(double n);

  /// What a measurement of these slices of the input must keep to be understood; nothing unless kPoisson.
  std::optional<PhotonCounts> counts(const std::vector<std::int64_t>& numbers, const TensorSpec& codomain) const;

  /// The noise of slice `number` of the input. Throws Error(kConfiguration) when a file does not fit what the operator measures.
  SliceNoise slice(std::int64_t number, const TensorSpec& codomain) const;

  /// sigma_y where the model alone says it: the root mean square over the coils; 0 for counts, which have no one figure.
  std::optional<double> sigma_y() const;
  /// Where that comes from.
  std::string sigma_y_source() const;
  /// What the user should know, one sentence each.
  std::vector<std::string> notes() const;

 private:
  std::string flux_name() const;       ///< as messages call it
  std::string background_name() const;
  at::Tensor of_slice(const at::Tensor& values, std::int64_t number, const TensorSpec& codomain, const std::string& name) const;

  NoiseOptions options_;
  std::int64_t n_slices_ = 1;
  std::shared_ptr<const CoilWhitening> coils_;  ///< leaves noise of coils_sigma_y_
  double coils_sigma_y_ = 0.0;
  at::Tensor weights_, blank_scan_, background_;
};

}  // namespace postrec
