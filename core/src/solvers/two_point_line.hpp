#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "../sampling_method.hpp"

namespace postrec {

/// The denoised image as a straight line in log sigma through the last two, read half a step ahead: what makes a rule that asks once a level one of
/// second order. [Lu 2022, algorithm 2]
class TwoPointLine {
 public:
  /// The image half a step beyond `level` from `denoised` there and the one before; `denoised` itself at the first level.
  at::Tensor ahead(const at::Tensor& denoised, const Level& level);

  std::map<std::string, at::Tensor> state() const;
  void restore(const std::map<std::string, at::Tensor>& state);

 private:
  at::Tensor before_;                          ///< denoised at the level before
  double length_before_ = 0.0;                 ///< of that step, in log sigma
};

}  // namespace postrec
