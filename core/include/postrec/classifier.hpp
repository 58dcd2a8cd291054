#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec {

/// p(class | x_t) of noisy images x_t = x + sigma n, the convention of Prior. Safe to call from several threads.
class Classifier {
 public:
  virtual ~Classifier() = default;

  /// Shape and type of the images it can classify; a -1 in the shape accepts any size.
  virtual TensorSpec domain() const = 0;
  virtual std::int64_t n_classes() const = 0;

  struct Answer {
    std::vector<double> log_probability;       ///< log p(class | x_t) of each image
    at::Tensor gradient;                       ///< of it in x_t, real component by real component, [B, domain]
  };
  /// x_t [B, domain], class_index below n_classes(). Of each image by itself: no answer depends on the other images of the batch.
  virtual Answer log_probability(const at::Tensor& x_t, double sigma, std::int64_t class_index) const = 0;
};

}  // namespace postrec
