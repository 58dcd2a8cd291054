#include <ATen/ATen.h>

#include "../entries.hpp"

namespace postrec {
namespace {

/// The prior alone.
class Unguided : public Guidance {
 public:
  using Guidance::Guidance;
  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& /*call*/, LevelRecord& /*record*/) override {
    return task_.denoise(x_t, sigma);
  }
};

}  // namespace

MethodEntry unguided_entry() {
  MethodEntry entry;
  entry.info = {"prior", "Images of the prior, by any solver, without a measurement.", "[Song 2021]", {}, "dpm-solver-2m"};
  entry.needs = Needs::kNoMeasurement;
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Unguided>(task); };
  return entry;
}

}  // namespace postrec
