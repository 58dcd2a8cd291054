#include <ATen/ATen.h>

#include "../entries.hpp"
#include "data_consistency.hpp"
#include "postrec/spectral_measurement.hpp"

namespace postrec {
namespace {

/// E[x0 | x_t, y] by one evaluation: x_t and y together are one image under noise with a spectrum, denoised as such. Exact with an exact
/// denoiser, whatever the prior. [Mammadov 2026] Needs an operator that is diagonal in the basis of the prior, and a prior that denoises
/// such noise.
class Eps : public Guidance {
 public:
  explicit Eps(const SamplingTask& task)
      : Guidance(task), measurement_(task.prior.error_covariance(task.sigmas.front(), task.image.shape).basis(), *task.likelihood) {}

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& /*call*/, LevelRecord& record) override {
    const Pivot pivot = measurement_.pivot(x_t, sigma);
    const at::Tensor denoised = task_.denoise_under(pivot.z, pivot.noise, sigma);
    data_residual(task_, denoised, record);
    return denoised;
  }

 private:
  const SpectralMeasurement measurement_;
};

}  // namespace

MethodEntry eps_entry() {
  MethodEntry entry;
  entry.info = {"eps", "The conditional mean, by a prior that denoises noise with a spectrum (EPS).", "[Mammadov 2026]", {},
                "dpm-solver-2m"};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Eps>(task); };
  return entry;
}

}  // namespace postrec
