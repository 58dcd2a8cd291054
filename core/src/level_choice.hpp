#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "method_table.hpp"
#include "postrec/noise_process.hpp"
#include "postrec/prior.hpp"
#include "postrec/sampler.hpp"

namespace postrec {

/// The noise levels that the options ask for, or as many of them as their network evaluations allow, and what a level costs.
class LevelChoice {
 public:
  /// What is chosen for; must outlive the choice.
  struct For {
    const Prior& prior;
    const std::vector<std::int64_t>& image_shape;
    bool has_measurement;
    const MethodEntry& method;
    const SolverEntry* solver;                 ///< null: the method walks by itself
    const std::map<std::string, double>& settings;
  };

  /// Throws Error(kUsage) when options.nfe is less than the method takes.
  LevelChoice(const For& what, const SamplerOptions& options);

  const NoiseProcess& process() const { return process_; }
  const std::vector<double>& levels() const { return levels_; }

  /// Evaluations of the level at sigma over those of most levels: 1, or 2 where the method takes two.
  int work(double sigma) { return work(sigma, levels_.size()); }

 private:
  int work(double sigma, std::size_t n_levels);
  int most_levels(const SamplerOptions& options) const;
  std::vector<double> levels_of(int n, const std::string& kind) const;
  std::vector<double> within_budget(int n, const SamplerOptions& options);

  For for_;
  NoiseProcess process_;
  std::map<std::pair<double, std::size_t>, int> work_;  ///< by level and how many there are, as far as it was asked for
  std::vector<double> levels_;
};

}  // namespace postrec
