// What is close to the inverse of H = I + F^H N F when the covariance F F^H has an envelope.
#include "white_preconditioner.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "batched_vectors.hpp"
#include "beds.hpp"
#include "postrec/random.hpp"
#include "spectral_transform.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 16;

at::Tensor noise(std::uint64_t draw, std::int64_t batch, at::ScalarType dtype = at::kFloat) { return RandomStreams(4, 0, batch).normal(draw, {1, kSize, kSize}, dtype); }

/// From .1 in one half of the image to 2 in the other, the other way round in every second one.
at::Tensor envelope(std::int64_t batch) {
  const at::Tensor rising = at::linspace(std::log(0.1), std::log(2.0), kSize, at::kDouble).exp().to(at::kFloat).view({1, 1, 1, kSize}).expand({batch, 1, kSize, kSize}).clone();
  for (std::int64_t b = 1; b < batch; b += 2) rising[b].copy_(rising[b].flip(-1));
  return rising;
}

/// H for N = Q diag(n) Q^H, in which there is nothing that the preconditioner does not know but how envelope and spectrum meet.
LinearMap system(const SpectralCovariance& covariance, const at::Tensor& diagonal) {
  return [covariance, diagonal](const at::Tensor& u) {
    const at::Tensor seen = times_table(to_natural_basis(covariance.basis(), covariance.apply_factor(u)), diagonal);
    return u + covariance.apply_factor_adjoint(from_natural_basis(covariance.basis(), seen));
  };
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

// Single precision, a few products of numbers up to 1e3.
TEST(WhitePreconditioner, IsExactWhereTheEnvelopeIsFlat) {
  const SpectralCovariance plain{SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.1)};
  const at::Tensor diagonal = noise(0, 1)[0].square() * 1000.0, u = noise(1, 2);
  for (const SpectralCovariance& covariance : {plain, plain.with_envelope(at::full({2, 1, kSize, kSize}, 0.7f))})
    EXPECT_LT(relative_distance(white_preconditioner(covariance, diagonal)(system(covariance, diagonal)(u)), u), 1e-4);
}

// With a white spectrum H = Q^H (1 + w^2 k) Q, and what is asked for w = a and b holds for all k, for w = (a b)^(1/2) where k w^2 = 1.
TEST(WhitePreconditioner, IsExactWhereTheEnvelopeIsExtremeOrInTheMiddle) {
  at::Tensor w = at::full({1, 1, kSize, kSize}, 0.2f);
  w.narrow(2, 3, 7).fill_(1.8f);
  const SpectralCovariance white{SpectralBasis::kDct, at::ones({1, kSize, kSize})};
  const at::Tensor u = noise(2, 1);
  for (const double k : {0.01, 1.0, 100.0}) {
    const SpectralCovariance covariance = white.with_envelope(w);
    const at::Tensor diagonal = at::full({1, kSize, kSize}, k, at::kFloat);
    EXPECT_LT(relative_distance(white_preconditioner(covariance, diagonal)(system(covariance, diagonal)(u)), u), 1e-5) << k;
  }
  w.narrow(3, 5, 4).fill_(0.6f);
  const SpectralCovariance covariance = white.with_envelope(w);
  const at::Tensor diagonal = at::full({1, kSize, kSize}, 1.0 / 0.36, at::kFloat);
  EXPECT_LT(relative_distance(white_preconditioner(covariance, diagonal)(system(covariance, diagonal)(u)), u), 1e-5);
}

TEST(WhitePreconditioner, IsHermitianAndPositive) {
  for (const auto& [basis, dtype] : {std::pair{SpectralBasis::kDct, at::kFloat}, {SpectralBasis::kDft, at::kComplexFloat}}) {
    const SpectralCovariance covariance = SpectralCovariance{basis, lorentzian_spectrum(kSize, 0.1)}.with_envelope(envelope(2));
    const LinearMap m = white_preconditioner(covariance, noise(3, 1)[0].square() * 1000.0);
    const at::Tensor x = noise(4, 2, dtype), y = noise(5, 2, dtype);
    const std::vector<double> left = dots(x, m(y)), right = dots(m(x), y), square = dots(x, m(x)), scale = dots(x, x);
    for (int b = 0; b < 2; ++b) {
      EXPECT_NEAR(left[b], right[b], 1e-5 * scale[b]);
      EXPECT_GT(square[b], 0.0);
    }
  }
}

// An envelope of 1 : 20 and data that are good at low frequencies alone, as in CT. The same solve with the spectrum's own 1/(1 + c n) takes more than twice as many iterations.
TEST(WhitePreconditioner, HalvesTheIterations) {
  const at::Tensor spectrum = lorentzian_spectrum(kSize, 0.05);
  const SpectralCovariance plain{SpectralBasis::kDct, spectrum}, covariance = plain.with_envelope(envelope(1));
  const at::Tensor diagonal = spectrum / spectrum.max() * 1e5, b = noise(6, 1);
  const auto iterations = [&](const LinearMap& precondition) {
    at::Tensor u = at::zeros_like(b);
    return conjugate_gradients(system(covariance, diagonal), precondition, b, u, {1e-4, 2000}).iterations;
  };
  const int by_place = iterations(white_preconditioner(covariance, diagonal)), by_spectrum = iterations(white_preconditioner(plain, diagonal));
  EXPECT_LT(2 * by_place, by_spectrum);
}

// Law: batch.
TEST(WhitePreconditioner, batch) {
  const SpectralCovariance plain{SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.1)};
  const at::Tensor diagonal = noise(7, 1)[0].square() * 1000.0, u = noise(8, 5), w = envelope(5) + noise(9, 5).abs();
  const at::Tensor together = white_preconditioner(plain.with_envelope(w), diagonal)(u);
  for (std::int64_t b = 0; b < 5; ++b)
    EXPECT_TRUE(at::equal(white_preconditioner(plain.with_envelope(w.narrow(0, b, 1).contiguous()), diagonal)(u.narrow(0, b, 1).contiguous()), together.narrow(0, b, 1))) << b;
}

}  // namespace
}  // namespace postrec::test
