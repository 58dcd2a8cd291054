#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace postrec {

/// The weights of particles in groups: samples of one group compete with each other, groups know nothing of one another.
///
/// Kept in single precision relative to the largest of the group, so that a stopped run goes on with the same bits.
class ParticleWeights {
 public:
  /// `n_particles` must be a multiple of `group`.
  ParticleWeights(std::int64_t n_particles, std::int64_t group);

  /// Multiplies the weights by exp(log_factors), one for each particle.
  void multiply(const std::vector<double>& log_factors);

  /// The effective sample size (sum w)^2/sum w^2 over the size of the group; smallest of all groups.
  double effective_share() const;

  /// Flattens the weights of each group whose effective share is below `share`: w^alpha with the largest alpha that gives this share.
  void temper(double share);

  /// Systematic resampling of each group whose effective share is below `threshold`: the ancestor of every particle; weights of these groups
  /// become equal. `uniform` in [0, 1) for every particle, of which that of the group's first counts. A particle that survives keeps its
  /// place and copies fill the places of those that do not, so that the first samples of a group are no better than the others. [Kitagawa 1996]
  std::vector<std::int64_t> resample(double threshold, const std::vector<double>& uniform);

  /// Logarithms, float32 [n_particles], 0 for the largest of a group.
  at::Tensor state() const;
  void restore(const at::Tensor& state);

 private:
  std::int64_t group_;
  std::vector<float> log_weights_;
};

/// x_b = x_(ancestors_b).
at::Tensor take_ancestors(const at::Tensor& x, const std::vector<std::int64_t>& ancestors);

}  // namespace postrec
