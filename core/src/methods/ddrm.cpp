#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <optional>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "../spectral_transform.hpp"
#include "flat_draw.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr std::uint64_t kProbeSeed = 0x7376640a;
constexpr double kRounding = 1e-4;             // as in SpectralMeasurement: two transforms in single precision, with room
constexpr double kNotMeasured = 1e-5;          // of the largest squared singular value: below it is what rounding leaves of 0

/// The squared singular values of A with its right singular vectors, where those are pixels or the vectors of a spectral basis.
class SingularVectors {
 public:
  SingularVectors(const Operator& op, SpectralBasis basis, const at::Device& device) : basis_(basis) {
    for (const bool spectral : {false, true}) {
      spectral_ = spectral;
      if (std::optional<at::Tensor> diagonal = diagonal_of(op, device)) {
        gain_ = at::where(diagonal->gt(diagonal->max() * kNotMeasured), *diagonal, at::zeros_like(*diagonal));
        return;
      }
    }
    throw Error(ErrorKind::kConfiguration,
                "method 'ddrm' needs an operator whose singular vectors are pixels or frequencies, and this one's are neither",
                "it takes masks of pixels and Fourier sampling of one coil; for other operators use bridge or diffpir");
  }

  const at::Tensor& gain() const { return gain_; }
  at::Tensor to(const at::Tensor& x) const { return spectral_ ? to_natural_basis(basis_, x) : x; }
  at::Tensor from(const at::Tensor& k) const { return spectral_ ? from_natural_basis(basis_, k) : k; }

 private:
  // A^H A times random signs, in these coordinates.
  struct Probe {
    at::Tensor signs, answer;
  };
  Probe probe(const Operator& op, const at::Device& device, std::int64_t index) const {
    const at::Tensor signs = RandomStreams(kProbeSeed, index, 1).signs(0, op.domain().shape, device);
    return {signs, to(op.normal(from(signs.to(op.domain().dtype))))};
  }

  // A diagonal matrix is known from one probe and explains the next; any other one does not.
  std::optional<at::Tensor> diagonal_of(const Operator& op, const at::Device& device) const {
    const Probe first = probe(op, device, 0), second = probe(op, device, 1);
    const at::Tensor real = first.answer.is_complex() ? at::real(first.answer) : first.answer;
    const at::Tensor diagonal = (real * first.signs).squeeze(0).clamp_min(0.0).contiguous();
    const at::Tensor unexplained = second.answer - times_table(second.signs.to(second.answer.scalar_type()), diagonal);
    const bool explained = dots(unexplained, unexplained)[0] <= kRounding * kRounding * dots(second.answer, second.answer)[0];
    return explained ? std::optional<at::Tensor>(diagonal) : std::nullopt;
  }

  SpectralBasis basis_;
  bool spectral_ = false;
  at::Tensor gain_;                            ///< float32 [C, H, W]
};

/// Each coordinate of the singular vectors walks by itself, by how its measured value, whose noise is sigma_y/s, compares with the noise
/// level: not measured, measured with more noise than x_t has, or with less. [Kawar 2022, section 3]
class Ddrm : public SamplingMethod {
 public:
  explicit Ddrm(const SamplingTask& task)
      : SamplingMethod(task),
        vectors_(task.likelihood->op(), task.prior.error_covariance(task.sigmas.front(), task.image.shape).basis(), task.device) {
    const at::Tensor measured = vectors_.gain().gt(0.0f);
    const at::Tensor inverse = at::where(measured, vectors_.gain().reciprocal(), at::zeros_like(vectors_.gain()));
    measured_noise_ = at::where(measured, inverse.sqrt() * task.likelihood->sigma_y(), at::full_like(inverse, INFINITY));
    const GaussianLikelihood& likelihood = *task.likelihood;
    measured_ = times_table(vectors_.to(likelihood.op().adjoint(likelihood.y().unsqueeze(0))), inverse);
  }

  /// What is measured with less noise than sigma starts there, the rest at noise alone; with a sigma that exceeds all sigma_y/s as
  /// published.
  at::Tensor start(double sigma) const override {
    const at::Tensor noise = vectors_.to(task_.normal(kInitialDraw, task_.image));
    const at::Tensor clear = measured_noise_.le(sigma);
    const at::Tensor variance = sigma * sigma - at::where(clear, measured_noise_.square(), at::zeros_like(measured_noise_));
    return vectors_.from(times_table(noise, variance.sqrt()) + times_table(measured_, clear.to(at::kFloat)));
  }

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    const at::Tensor denoised = task_.denoise(x_t, level.sigma);
    record.misfit = misfit_of(*task_.likelihood, denoised);
    if (level.next_sigma == 0.0) return denoised;
    const double next = level.next_sigma, keep = std::sqrt(1.0 - eta_ * eta_);
    const at::Tensor none = at::zeros_like(measured_noise_), unmeasured = measured_noise_.isinf(), clear = measured_noise_.le(next);
    // Weights of x_t and of the measured value; the denoised image has the rest.
    const at::Tensor from_x_t = at::where(unmeasured, at::full_like(none, keep * next / level.sigma), none);
    const at::Tensor hidden = at::where(unmeasured, none, keep * next / measured_noise_);
    const at::Tensor from_measured = at::where(clear, at::full_like(none, eta_b_), hidden);
    const at::Tensor left = next * next - at::where(clear, (eta_b_ * measured_noise_).square(), none);
    const at::Tensor spread = at::where(clear, left.sqrt(), at::full_like(none, eta_ * next));
    const at::Tensor noise = vectors_.to(task_.normal(draw_at(level.step, Draw::kBridge), task_.image));
    return vectors_.from(times_table(vectors_.to(denoised), 1.0 - from_x_t - from_measured) + times_table(vectors_.to(x_t), from_x_t) +
                         times_table(measured_, from_measured) + times_table(noise, spread));
  }

 private:
  SingularVectors vectors_;
  at::Tensor measured_noise_;                  ///< sigma_y/s, infinite where s = 0; [C, H, W]
  at::Tensor measured_;                        ///< the measured value, y in the singular vectors over s, 0 where s = 0; [1, C, H, W]
  const double eta_ = task_.setting("eta");
  const double eta_b_ = task_.setting("eta-b");
};

}  // namespace

MethodEntry ddrm_entry() {
  MethodEntry entry;
  entry.info = {"ddrm",
                "Each singular direction by itself, denoised where the noise level hides what was measured; masks and one coil only.",
                "[Kawar 2022, section 3]",
                {{"eta", 0.85, 0.0, 1.0, "share of fresh noise where the data say nothing, or less than x_t"},
                 {"eta-b", 1.0, 0.0, 1.0, "weight of the data where they say more than x_t"}},
                ""};
  entry.walk = [](const SamplingTask& task) { return std::make_unique<Ddrm>(task); };
  return entry;
}

}  // namespace postrec
