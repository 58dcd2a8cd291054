#include <ATen/ATen.h>

#include <cmath>

#include "../batched_vectors.hpp"
#include "../sampling_method.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

/// The probability flow from noise to an image, deterministic given its start: samples of the prior alone. In log sigma by a multistep rule of
/// second order, the image as a straight line through the last two denoised ones, so that a level costs one network evaluation. Its end is the
/// denoised image of the last level. [Lu 2022, DPM-Solver++(2M), algorithm 2; Karras 2022 for the levels]
class Flow : public SamplingMethod {
 public:
  at::Tensor condition(const at::Tensor& /*x_t*/, const at::Tensor& denoised, const Level& level, LevelRecord& /*record*/) override {
    if (level.next_sigma == 0.0) return denoised;
    const double length = std::log(level.sigma / level.next_sigma);
    const double slope = before_.defined() ? 0.5 * length / length_before_ : 0.0;
    const at::Tensor ahead = before_.defined() ? linear_combination(1.0 + slope, denoised, -slope, before_) : denoised;
    before_ = denoised;
    length_before_ = length;
    return ahead;
  }

  at::Tensor step(const at::Tensor& x_t, const at::Tensor& x0, const Level& level) override {
    const double keep = level.next_sigma / level.sigma;
    return linear_combination(keep, x_t, 1.0 - keep, x0);
  }

 private:
  at::Tensor before_;                          ///< denoised at the level before
  double length_before_ = 0.0;                 ///< of that step, in log sigma
};

}  // namespace

std::unique_ptr<SamplingMethod> make_flow(const SamplingTask& task) {
  if (task.likelihood) throw Error(ErrorKind::kUsage, "method 'flow' samples the prior alone", "with a measurement use bridge");
  return std::make_unique<Flow>();
}

}  // namespace postrec
