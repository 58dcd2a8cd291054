#include <ATen/ATen.h>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "data_consistency.hpp"

namespace postrec {
namespace {

/// p(y | x_t) as N(A D, r^2 A A^H + sigma_y^2) with r^2 = sigma^2/(1 + sigma^2), so that its score is g = J^T A^H (r^2 A A^H +
/// sigma_y^2)^-1 (y - A D); each step adds r^2 g, the published weight, to the image. [Song 2023, algorithm 1]
///
/// Differs from [Song 2023]: in x_sigma, where the weight of the paper's x'_t is 1 for its r_t^2 g; and as (A^H A + sigma_y^2/r^2)^-1 A^H,
/// which is the same.
class Pigdm : public Guidance {
 public:
  using Guidance::Guidance;

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& call, LevelRecord& record) override {
    const DenoisedWithJacobian denoised = task_.denoise_with_jacobian(x_t, sigma);
    const at::Tensor residual = data_residual(task_, denoised.denoised, record);
    const double r_squared = sigma * sigma / (1.0 + sigma * sigma), sigma_y = task_.likelihood->sigma_y();
    const at::Tensor towards_data = regularised_back_projection(task_, sigma_y * sigma_y / r_squared, residual, record);
    const at::Tensor change = denoised.jacobian_product(towards_data);
    return linear_combination(1.0, denoised.denoised, 1.0 / ancestral_share(task_, call), change);
  }
};

/// PiGDM with what was measured of the prior: r^2 from c(sigma), the weight sigma^2 of Tweedie's formula, and draws in place of means,
///   z = D + C^(1/2) n1,  x0 = z + G (y + sigma_y n2 - A z),  G = sigma^2 J^T A^H (r^2 A A^H + sigma_y^2)^-1,  r^2 = tr C^3/tr C^2.
///
/// Why that r^2. With sigma^2 J = C, as for a Gaussian, and A = I it makes the mean square error of D + G (y - D) least of all scalars. It
/// is a mean of c, weighted by c^2: with the plain mean, far below the c of low frequencies, G overshoots there (T1c-box8 in 10 levels:
/// spread 18 times too large).
///
/// Why the spread is right. Let x0 ~ N(D, C) and y = A x0 + sigma_y n. Whatever the gain G, the estimate D + G (y - A D) errs by (I - G A)
/// (x0 - D) - sigma_y G n, with covariance (I - G A) C (I - G A)^H + sigma_y^2 G G^H; the draw is spread about the estimate by exactly
/// that. So a step is never more certain than its estimate is good, though r^2 A A^H stands for A C A^H. Where it is A C A^H, for white
/// priors, x0 is an exact draw and, with the ancestral solver, the walk exact for any number of steps; without the perturbation x0 is E[x0
/// | x_t, y]. A draw needs a solver that adds the noise of the next level: a probability flow counts its spread twice.
class PigdmCalibrated : public Guidance {
 public:
  using Guidance::Guidance;

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& call, LevelRecord& record) override {
    const GaussianLikelihood& likelihood = *task_.likelihood;
    const DenoisedWithJacobian denoised = task_.denoise_with_jacobian(x_t, sigma);
    const SpectralCovariance covariance = task_.error_covariance(sigma);
    const double r_squared = best_scalar(covariance.eigenvalues());
    at::Tensor x0 = denoised.denoised, residual = data_residual(task_, x0, record);
    if (perturbation_ > 0.0) {
      const at::Tensor error = covariance.apply_factor(task_.normal(draw_at(call.step, Draw::kGuidanceImage, call.call), task_.image));
      const at::Tensor noise = task_.normal(draw_at(call.step, Draw::kGuidanceData, call.call), likelihood.op().codomain());
      x0 = linear_combination(1.0, x0, perturbation_, error);
      const at::Tensor perturbed = linear_combination(likelihood.sigma_y(), noise, -1.0, likelihood.op().forward(error));
      residual = linear_combination(1.0, residual, perturbation_, perturbed);
    }
    const double lambda = likelihood.sigma_y() * likelihood.sigma_y() / r_squared;
    const at::Tensor change = denoised.jacobian_product(regularised_back_projection(task_, lambda, residual, record));
    return linear_combination(1.0, x0, sigma * sigma / r_squared, change);
  }

 private:
  static double best_scalar(const at::Tensor& eigenvalues) {
    const at::Tensor c = eigenvalues.unsqueeze(0);
    return dots(c * c, c).front() / dots(c, c).front();
  }

  const double perturbation_ = task_.setting("perturbation");
};

}  // namespace

MethodEntry pigdm_entry() {
  MethodEntry entry;
  entry.info = {"pigdm", "Each step adds the score of the data given the denoised image, with its published weight (PiGDM).",
                "[Song 2023, algorithm 1]", {}, "ancestral"};
  entry.evaluations = {2.0};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Pigdm>(task); };
  return entry;
}

MethodEntry pigdm_calibrated_entry() {
  MethodEntry entry;
  entry.info = {"pigdm-calibrated", "PiGDM with the measured error of the denoiser, and draws that are spread as the estimate errs.",
                "[Song 2023; Papandreou 2010]",
                {{"perturbation", 1.0, 0.0, 1.0, "of image and data before the solve; 0: the conditional mean"}}, "ancestral"};
  entry.evaluations = {2.0};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<PigdmCalibrated>(task); };
  return entry;
}

}  // namespace postrec
