#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "postrec/operator.hpp"

namespace postrec {

/// A smooth synthetic phase in rad, float32 [H, W]: random cosines of at most two half-waves across the image, standard deviation about 1.
/// A pure function of its arguments.
at::Tensor smooth_phase_rad(std::uint64_t seed, std::int64_t height, std::int64_t width);

/// A real image as an operator's domain wants it: itself, or complex with this phase (undefined: zero phase).
at::Tensor with_phase(const at::Tensor& image, const at::Tensor& phase_rad, at::ScalarType dtype);

/// y = A x + sigma_y n at the measured entries, 0 elsewhere; x [domain] -> [codomain]. `seed` names the noise.
at::Tensor simulate_slice(const Operator& op, const at::Tensor& x, double sigma_y, std::uint64_t seed);

}  // namespace postrec
