#include "postrec/objectives.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {
namespace {

// Broadcasting would hide a mistake in any of these shapes.
void check(const at::Tensor& x, const at::Tensor& random, const at::Tensor& sigma, const at::Tensor& weight) {
  const bool per_sample = sigma.dim() == 1 && sigma.sizes() == weight.sizes() && x.dim() > 1 && sigma.size(0) == x.size(0);
  if (!per_sample || x.sizes() != random.sizes() || !x.is_floating_point() || !random.is_floating_point())
    throw Error(ErrorKind::kInternal, "a training objective was given tensors that do not fit", "images are real [B, C, ...], sigma and weight [B]");
}

// [B] as [B, 1, 1, ...].
at::Tensor column(const at::Tensor& values, const at::Tensor& like) {
  std::vector<std::int64_t> sizes(like.dim(), 1);
  sizes[0] = values.size(0);
  return values.view(sizes);
}

at::Tensor mean_of_sample(const at::Tensor& x) { return x.flatten(1).mean(1); }

}  // namespace

at::Tensor image_weight(Weighting weighting, const NoiseProcess& process, const at::Tensor& sigma, double sigma_data) {
  at::Tensor result = sigma.to(at::kCPU, at::kFloat).clone(at::MemoryFormat::Contiguous);
  float* values = result.data_ptr<float>();
  for (std::int64_t i = 0; i < result.numel(); ++i) {
    const double s = values[i], s2 = s * s, data2 = sigma_data * sigma_data;
    double weight = 1.0 / s2;
    if (weighting == Weighting::kLikelihood) weight = process.g_squared(process.time(s)) / (s2 * s2);
    if (weighting == Weighting::kEdm) weight = (s2 + data2) / (s2 * data2);
    values[i] = static_cast<float>(weight);
  }
  return result.to(sigma.device());
}

at::Tensor denoising_score_matching(const TrainedDenoiser& denoiser, const at::Tensor& x, const at::Tensor& noise, const at::Tensor& sigma,
                                    const at::Tensor& weight) {
  check(x, noise, sigma, weight);
  const at::Tensor x_t = x + column(sigma, x) * noise;
  return weight * mean_of_sample((denoiser(x_t, sigma) - x).square());
}

// In r = D - x_t = sigma^2 s, so that nothing is divided by a small sigma: lambda |s|^2 = w |r|^2, lambda v.grad(v.s) = w sigma^2 v.grad(v.r).
at::Tensor sliced_score_matching(const TrainedDenoiser& denoiser, const at::Tensor& x_t, const at::Tensor& projection, const at::Tensor& sigma,
                                 const at::Tensor& weight, SlicedNorm norm) {
  check(x_t, projection, sigma, weight);
  const bool training = c10::GradMode::is_enabled();
  const c10::AutoGradMode with_graph(true);     // the loss itself holds a derivative
  const at::Tensor input = x_t.detach().requires_grad_(true);
  const at::Tensor residual = denoiser(input, sigma) - input;
  const at::Tensor projected = (projection * residual).flatten(1).sum(1);
  // Sample b of the gradient is that of projected_b, because no sample sees another.
  const at::Tensor gradient = torch::autograd::grad({projected.sum()}, {input}, {}, /*retain_graph=*/true, /*create_graph=*/training)[0];
  const at::Tensor squared_norm = norm == SlicedNorm::kExact ? mean_of_sample(residual.square())
                                                             : projected.square() / static_cast<double>(residual[0].numel());
  const at::Tensor loss = weight * (squared_norm * 0.5 + sigma.square() * mean_of_sample(projection * gradient));
  return training ? loss : loss.detach();
}

}  // namespace postrec
