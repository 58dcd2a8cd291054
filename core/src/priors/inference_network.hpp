#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "postrec/unet.hpp"

namespace postrec {

/// The levels of a U-Net for use without gradients on a CPU: what UNet computes, to rounding, from weights that are prepared once.
///
/// 3x3 convolutions with Winograd's F(2x2, 3x3) (2.25 times fewer products), and in the same pass over the pixels the modulation by the noise level,
/// the residual and the activation. The 1x1 convolution of two joined images is the sum of one of each, so that nothing is concatenated,
/// and the one of the coarse image comes before that image is doubled.
/// Bits do not depend on the number of threads.
class InferenceNetwork {
 public:
  /// Null where this network, these weights (they take gradients, or lie elsewhere) or this processor must do without.
  static std::shared_ptr<const InferenceNetwork> make(const UNetConfig& config, const Weights& weights);

  /// x [B, in_channels, H, W] in whole cells, embedding [B, config.embedding] -> [B, out_channels, H, W].
  at::Tensor forward(const at::Tensor& x, const at::Tensor& embedding) const;

 private:
  struct Layer {
    at::Tensor kernel, bias;
  };
  /// Features [1, C, H, W] and their silu.
  struct Features {
    at::Tensor x, activated;
  };
  /// What to do with v = scale (kernel * x) + shift + residual.
  struct Outcome {
    at::Tensor scale, shift;              // one number a channel
    at::Tensor residual, out, activated;  // undefined: none
  };

  InferenceNetwork(const UNetConfig& config, const Weights& weights);
  at::Tensor forward_one(const at::Tensor& x, const at::Tensor& embedding) const;
  void prepare(const std::string& name);
  Layer layer(const std::string& name) const;
  static at::Tensor plain(const Layer& layer, const at::Tensor& x, std::int64_t stride = 1);
  Features activated(const at::Tensor& x) const;
  Features joined(std::int64_t level, const at::Tensor& coarse, const at::Tensor& skip) const;
  void convolve(const std::string& name, const at::Tensor& x, const Outcome& outcome) const;
  void block(const std::string& name, Features& features, const at::Tensor& embedding, bool activate) const;
  void blocks(const char* way, std::int64_t level, Features& features, const at::Tensor& embedding, bool activate) const;

  UNetConfig config_;
  Weights weights_;
  std::map<std::string, Layer> layers_;  // 3x3 convolutions, transformed, and the halves of the joins
};

}  // namespace postrec
