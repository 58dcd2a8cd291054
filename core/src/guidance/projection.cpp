#include <ATen/ATen.h>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "data_consistency.hpp"
#include "postrec/linear_solve.hpp"

namespace postrec {
namespace {

/// Before each step the measured part of x_t is mixed with noisy data y_t = y + sigma A n: x_t' = x_t + lambda A^+ (y_t - A x_t). [Song
/// 2022, algorithm 2]
///
/// The paper writes A = P(Lambda) T with T invertible and mixes in T's space. For MRI of one coil T is the Fourier transform, A^+ = A^H,
/// and this is its k-space mixing, lambda of y_t and 1 - lambda of x_t where the mask is 1; for CT T is the Radon transform of all angles
/// and A^+ filtered back-projection.
/// Differs from [Song 2022]: A^+ is the operator's pseudo_inverse, where it has one, whose views weigh as if there were no others; else the
/// least-squares solution of least norm by conjugate gradients. So any linear operator will do.
class Projection : public Guidance {
 public:
  using Guidance::Guidance;

  at::Tensor prepare(const at::Tensor& x_t, const Level& level) override {
    const Operator& op = task_.likelihood->op();
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kGuidanceImage), task_.image);
    // y + sigma A n - A x_t, by one application
    const at::Tensor gap = task_.likelihood->y() - op.forward(linear_combination(1.0, x_t, -level.sigma, noise));
    return linear_combination(1.0, x_t, lambda_, pseudo_inverse(gap));
  }

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& /*call*/, LevelRecord& record) override {
    const at::Tensor denoised = task_.denoise(x_t, sigma);
    data_residual(task_, denoised, record);
    return denoised;
  }

 private:
  at::Tensor pseudo_inverse(const at::Tensor& v) const {
    const Operator& op = task_.likelihood->op();
    if (op.traits().pseudo_inverse != PseudoInverseKind::kNone) return op.pseudo_inverse(v);
    const at::Tensor b = op.adjoint(v);
    at::Tensor x = at::zeros_like(b);            // so that x stays in the range of A^H
    conjugate_gradients([&](const at::Tensor& u) { return op.normal(u); }, {}, b, x, task_.solve);
    return x;
  }

  const double lambda_ = task_.setting("lambda");
};

}  // namespace

MethodEntry projection_entry() {
  MethodEntry entry;
  entry.info = {"projection", "Before each step the measured part of the image is mixed with noisy data.", "[Song 2022, algorithm 2]",
                {{"lambda", 1.0, 0.0, 1.0, "share of the data in what is measured; 1 for data without noise"}}, "predictor-corrector"};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Projection>(task); };
  return entry;
}

}  // namespace postrec
