#include "sampling_method.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cmath>
#include <string>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

void check_finite(const at::Tensor& denoised, int step, double sigma) {
  for (const double square : dots(denoised, denoised))
    if (!std::isfinite(square))
      throw Error(ErrorKind::kNumerical, "the denoised image is not finite at step " + std::to_string(step) + ", sigma " + std::to_string(sigma),
                  "check the prior, the measurement and sigma_y");
}

}  // namespace

at::Tensor SamplingTask::normal(std::uint64_t draw, const TensorSpec& spec) const {
  return RandomStreams(seed, first_sample, n_samples).normal(draw, spec.shape, spec.dtype, device);
}

std::vector<double> SamplingTask::uniform(std::uint64_t draw) const {
  const at::Tensor values = RandomStreams(seed, first_sample, n_samples).uniform(draw, {1}).to(at::kDouble).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + n_samples};
}

at::Tensor SamplingTask::denoise(const at::Tensor& x_t, double sigma) const {
  const Stopwatch stopwatch(network_seconds);
  ++nfe;
  const at::Tensor denoised = prior.denoise(x_t, sigma);
  check_finite(denoised, step, sigma);
  return denoised;
}

at::Tensor SamplingTask::denoise_under(const at::Tensor& z, const SpectralNoise& noise, double sigma) const {
  const Stopwatch stopwatch(network_seconds);
  ++nfe;
  const at::Tensor denoised = prior.denoise_under(z, noise);
  check_finite(denoised, step, sigma);
  return denoised;
}

DenoisedWithJacobian SamplingTask::denoise_with_jacobian_if_any(const at::Tensor& x_t, double sigma) const {
  const Stopwatch stopwatch(network_seconds);
  ++nfe;
  const at::AutoGradMode graph(true);
  const at::Tensor x = x_t.detach().clone().requires_grad_(true);
  const at::Tensor denoised = prior.denoise(x, sigma);
  const at::Tensor value = denoised.detach();
  check_finite(value, step, sigma);
  if (!denoised.requires_grad()) return {value, {}};
  return {value, [this, x, denoised](const at::Tensor& v) {
            const Stopwatch stopwatch_of_product(network_seconds);
            ++nfe;
            const at::AutoGradMode with_graph(true);
            return torch::autograd::grad({denoised}, {x}, {v.detach()}, /*retain_graph=*/true)[0].detach();
          }};
}

DenoisedWithJacobian SamplingTask::denoise_with_jacobian(const at::Tensor& x_t, double sigma) const {
  DenoisedWithJacobian denoised = denoise_with_jacobian_if_any(x_t, sigma);
  if (!denoised.jacobian_product)
    throw Error(ErrorKind::kUnavailable, "prior '" + prior.info().name + "' cannot be differentiated", "choose a method without a Jacobian, such as bridge");
  return denoised;
}

at::Tensor SamplingMethod::start(double sigma) const {
  if (!task_.likelihood) return task_.prior.draw_noisy(task_.normal(kInitialDraw, task_.image), sigma);
  const at::Tensor x = real_view(task_.normal(kInitialDraw, task_.image)).mul(sigma);
  return task_.image.dtype == at::kComplexFloat ? at::view_as_complex(x) : x;
}

}  // namespace postrec
