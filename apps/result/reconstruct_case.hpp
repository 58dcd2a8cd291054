#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "case/case.hpp"
#include "case/volume_scale.hpp"
#include "cli/progress.hpp"
#include "postrec/prior.hpp"
#include "postrec/prior_fit.hpp"
#include "postrec/sampler.hpp"
#include "run/session.hpp"

namespace postrec {

/// The posterior of one slice, as stored: HU for CT, the scanner's unit for MR; magnitudes of complex images. Images are float32 [C, H, W],
/// and lie in the volumes of the result.
struct SliceResult {
  std::int64_t number = 0;
  std::uint64_t seed = 0;                      ///< derived from the user's
  double scale = 1.0;                          ///< physical unit per model unit
  at::Tensor mean;
  at::Tensor standard_deviation;
  at::Tensor lower;
  at::Tensor upper;
  double interval_level = 0.0;                 ///< probability inside [lower, upper]
  at::Tensor samples;                          ///< [n, C, H, W]
  at::Tensor pseudo_inverse;                   ///< the direct reconstruction that the samples are to beat
  std::vector<double> reduced_chi2;            ///< per sample
  PriorFit fit;                                ///< whether the prior fits this slice
  SamplerReport report;
};

/// The images of all slices, float32 as stored, each in its place as soon as it is finished: in the case's scratch folder, so that they need not fit into memory.
struct ResultVolumes {
  at::Tensor mean, standard_deviation, lower, upper, pseudo_inverse;  ///< [slice, C, H, W]
  at::Tensor samples;                          ///< [n, slice, C, H, W]
};

struct CaseResult {
  ResultVolumes volumes;
  std::vector<SliceResult> slices;             ///< finished ones, in order, all with as many samples
  PriorInfo prior;
  NetworkPrecision precision = NetworkPrecision::kFloat32;  ///< of the prior's network
  bool interrupted = false;
};

/// The main job: for each slice of the case, samples of p(x | y) and what they say.
///
/// Every slice is a posterior of its own, with random streams and a scale (volume_scale.hpp) that do not depend on which other slices are asked for, so that it
/// comes out the same alone and among others. Of inputs and results no more than a slice at a time must be in memory.
/// When the user interrupts, the finished slices stay; when none is finished, the finished samples of the first.
/// Throws Error: what reading, the operator, the prior and the sampler throw; kInterrupted when not one sample was finished.
CaseResult reconstruct_case(const Case& input, Session& session, Progress& progress);

}  // namespace postrec
