#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "postrec/random.hpp"

namespace postrec {

/// A Cartesian sampling mask as a scanner might use it, float32 [H, W], 1 = acquired, DC at n/2. All chance comes from `stream`, a stream of one sample.
///
/// Whole lines along either axis, with a density that falls towards the edge or evenly spaced, or single samples, falling or even; 1 in 2 to 12 of them
/// (log-uniform), up to a third of these as a block around DC. The patterns of the operator mri-fourier, where they are described.
at::Tensor random_sampling_mask(std::int64_t height, std::int64_t width, const RandomStreams& stream);

}  // namespace postrec
