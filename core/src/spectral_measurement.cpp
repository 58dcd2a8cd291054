#include "postrec/spectral_measurement.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "spectral_transform.hpp"

namespace postrec {
namespace {

constexpr std::uint64_t kProbeSeed = 0x70726f62;
constexpr double kRounding = 1e-4;  // of A^H A between two transforms in single precision, with room; what is not diagonal is off by its own size
constexpr double kNotMeasured = 1e-5;  // of the largest gain; below it is what rounding leaves of 0

// Random signs [1, domain], and what A^H A in the basis makes of them.
struct Probe {
  Probe(const Operator& op, SpectralBasis basis, const at::Device& device, std::int64_t index) {
    const TensorSpec domain = op.domain();
    signs = RandomStreams(kProbeSeed, index, 1).signs(0, domain.shape, device);
    answer = to_natural_basis(basis, op.normal(from_natural_basis(basis, signs.to(domain.dtype))));
  }

  at::Tensor signs;
  at::Tensor answer;
};

}  // namespace

SpectralMeasurement::SpectralMeasurement(SpectralBasis basis, const GaussianLikelihood& likelihood) : basis_(basis), sigma_y_(likelihood.sigma_y()) {
  const Operator& op = likelihood.op();
  const at::Device device = likelihood.y().device();
  if (op.domain().shape.size() != 3)
    throw Error(ErrorKind::kConfiguration, "this operator's images are not [C, H, W]", "use a method that takes any operator");
  // A diagonal matrix is known from one probe and explains the next; any other one does not.
  const Probe first(op, basis_, device, 0), second(op, basis_, device, 1);
  at::Tensor natural_gain = ((first.answer.is_complex() ? at::real(first.answer) : first.answer) * first.signs).squeeze(0).contiguous();
  // What rounding leaves of an unmeasured mode would count as a measurement where the noise is small.
  const at::Tensor measured = natural_gain.gt(kNotMeasured * natural_gain.max());
  natural_gain = natural_gain * measured;
  const at::Tensor unexplained = second.answer - times_table(second.signs.to(second.answer.scalar_type()), natural_gain);
  if (!(dots(unexplained, unexplained)[0] <= kRounding * kRounding * dots(second.answer, second.answer)[0]))
    throw Error(ErrorKind::kConfiguration, "the operator is not diagonal in the basis of the prior, as masked Fourier sampling of one coil is",
                "use a method that takes any operator");
  gain_ = from_natural_order(basis_, natural_gain);
  const at::Tensor back_projected = to_natural_basis(basis_, op.adjoint(likelihood.y().unsqueeze(0)));
  data_ = times_table(back_projected, measured.to(natural_gain.scalar_type()) / (sigma_y_ * sigma_y_)).squeeze(0);
}

Pivot SpectralMeasurement::pivot(const at::Tensor& x_t, double sigma) const {
  const double precision = 1.0 / (sigma * sigma);
  const at::Tensor v = (gain_ / (sigma_y_ * sigma_y_) + precision).reciprocal();
  SpectralNoise noise(basis_, v.unsqueeze(0));
  const at::Tensor weights = noise.natural_variance().squeeze(0);
  const at::Tensor z = times_table(to_natural_basis(basis_, x_t), weights * precision) + times_table(data_.unsqueeze(0), weights);
  return {from_natural_basis(basis_, z), std::move(noise)};
}

}  // namespace postrec
