#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <vector>

#include "postrec/denoising_network.hpp"
#include "training/training_scans.hpp"

namespace postrec {

/// Up to `at_most` slices, evenly spread over `slices`, as images [C, H, W]; complex ones with zero phase or, `smooth_phase`, one fixed by the seed.
std::vector<at::Tensor> spread_images(const std::vector<TrainingSlice>& slices, std::int64_t at_most, bool is_complex, bool smooth_phase, std::uint64_t seed);

/// The same few crops of validation slices with the same noise each time, denoised.
class DenoisingCheck {
 public:
  /// The middles of up to six of the slices, of one size. Arguments as those of spread_images.
  DenoisingCheck(const std::vector<TrainingSlice>& slices, bool is_complex, bool smooth_phase, std::uint64_t seed);

  struct Row {
    double sigma = 0.0;
    at::Tensor noisy;                          ///< [B, C, n, m], as clean
    at::Tensor denoised;
    double psnr_db = 0.0;                      ///< over all crops, the peak being 1
  };

  const at::Tensor& clean() const { return clean_; }
  /// One row for each of the sigmas 0.02, 0.1, 0.5 and 2; the network is evaluated on `device`.
  std::vector<Row> run(const DenoisingNetwork& network, const c10::Device& device) const;

 private:
  at::Tensor clean_;
  at::Tensor noise_;
};

}  // namespace postrec
