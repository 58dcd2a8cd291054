#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "postrec/random.hpp"

namespace postrec {

/// How training images are varied. A network sees each slice thousands of times; what it must not learn is how this slice lay in this scanner.
struct Augmentation {
  bool flips = true;                           ///< left-right, up-down and transposed
  double warped_share = 0.3;                   ///< of the crops are rotated and scaled (bicubic); the rest keep their own texture
  double max_rotation_rad = 0.3;
  double max_log_zoom = 0.25;                  ///< enlarged or reduced by up to exp(0.25)
  double max_log_gain = 0.0;                   ///< intensities times exp(+-): for images without a physical scale
  double max_log_gamma = 0.0;                  ///< x^gamma of the magnitude: other contrasts
  bool smooth_phase = false;                   ///< complex: magnitude times exp(i smooth phase), the constant part uniform over the circle
};

/// One crop [C, size, size] of an image [C, H, W] (real; zeros beyond its edge), varied; complex64 with `smooth_phase`, else float32.
/// All chance comes from `stream`, a stream of one sample.
at::Tensor augmented_crop(const at::Tensor& image, std::int64_t size, const Augmentation& how, const RandomStreams& stream);

}  // namespace postrec
