#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postrec/likelihood.hpp"
#include "postrec/prior.hpp"
#include "postrec/sampler.hpp"
#include "sampling_method.hpp"

namespace postrec {

/// Where a run stands between two levels: enough to go on with the same bits, because nothing else carries state (random numbers are counters).
struct SamplerState {
  at::Tensor finished;                         ///< samples of whole batches, [n, domain]; undefined when there is none
  SamplerReport report;                        ///< of those batches, sums over samples where the report has means; its seconds are of all that was done
  at::Tensor x;                                ///< of the batch at work; undefined between batches
  std::map<std::string, at::Tensor> method;    ///< its SamplingMethod::state()
  std::vector<double> levels;                  ///< of that batch
  std::int64_t level = 0;                      ///< the one that x is at
  std::vector<LevelRecord> records;            ///< of the levels before
  std::int64_t nfe = 0;
};

/// The file of a run that can be stopped at any moment and go on. Written atomically, at most every `interval_s` seconds, on demand at once.
class SamplerCheckpoint {
 public:
  /// `identity`: of all that decides the samples; see run_identity.
  SamplerCheckpoint(std::filesystem::path path, std::string identity) : path_(std::move(path)), identity_(std::move(identity)) {}

  /// What the file holds; nothing when there is none. Throws Error(kConfiguration) when it is of another run, kBadData when it is damaged.
  std::optional<SamplerState> load() const;
  /// Throws Error(kCannotCreate, kInputOutput).
  void save(const SamplerState& state) const;

 private:
  std::filesystem::path path_;
  std::string identity_;
};

/// SHA-256 of all that decides the samples of a run: options, prior, measurement and, through A^H y, the operator.
std::string run_identity(const Prior& prior, const GaussianLikelihood* likelihood, const std::vector<std::int64_t>& image_shape, const SamplerOptions& options);

}  // namespace postrec
