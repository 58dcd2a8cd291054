#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "postrec/unet.hpp"

namespace postrec {

/// The levels of a U-Net whose weights are fixed, on a CPU: what UNet computes, to rounding, and its derivative by the image, from weights that are prepared once.
///
/// 3x3 convolutions with Winograd's F(2x2, 3x3) (2.25 times fewer products), and in the same pass over the pixels the modulation by the noise level,
/// the residual and the activation. The 1x1 convolution of two joined images is the sum of one of each, so that nothing is concatenated,
/// and the one of the coarse image comes before that image is doubled. The derivative goes back through the same kernels: the adjoint of a convolution is one with the
/// kernel turned over, and the slope of the activation takes the place of the activation.
/// Bits do not depend on the number of threads.
class InferenceNetwork {
 public:
  /// Null where this network, these weights (they take gradients, or lie elsewhere) or this processor must do without.
  static std::shared_ptr<const InferenceNetwork> make(const UNetConfig& config, const Weights& weights);

  /// x [B, in_channels, H, W] in whole cells, embedding [B, config.embedding] -> [B, out_channels, H, W], without a graph.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& embedding) const;
  /// The same, as an operation of the graph: once differentiable by x, not by the embedding. `network` lives as long as the graph.
  static at::Tensor differentiable(const std::shared_ptr<const InferenceNetwork>& network, const at::Tensor& x, const at::Tensor& embedding);

 private:
  struct Layer {
    at::Tensor kernel, bias;
  };
  /// Features [1, C, H, W] and their silu.
  struct Features {
    at::Tensor x, activated;
  };
  /// What to do with v = silu'(slope_at) (scale (kernel * x) + shift) + residual.
  struct Outcome {
    at::Tensor scale, shift;              // one number a channel
    at::Tensor residual, out, activated;  // undefined: none
    at::Tensor slope_at{};                // undefined: 1 for the slope
  };
  /// What a block leaves for its adjoint: its features before either activation, and how the noise level scaled the second ones.
  struct BlockRecord {
    at::Tensor x, modulated, scale;
  };
  /// What one image leaves for the adjoint: the blocks in the order of the pass, and the features before the last activation.
  struct Record {
    std::vector<BlockRecord> blocks;
    at::Tensor last;
  };
  using BlocksBackwards = std::vector<BlockRecord>::const_reverse_iterator;
  class Derivative;

  InferenceNetwork(const UNetConfig& config, const Weights& weights);
  /// One image; `record`, if not null, is filled.
  at::Tensor forward_one(const at::Tensor& x, const at::Tensor& embedding, Record* record) const;
  /// The derivative's adjoint: [1, out_channels, H, W] -> [1, in_channels, H, W].
  at::Tensor adjoint_one(const at::Tensor& gradient, const Record& record) const;
  void prepare(const std::string& name);
  void prepare_adjoint(const std::string& name);
  void prepare_joins();
  Layer layer(const std::string& name) const;
  /// Room for [1, channels, H, W] at the pixels of [1, C, H, W].
  static at::Tensor empty_features(const at::Tensor& image, std::int64_t channels);
  static at::Tensor plain(const Layer& layer, const at::Tensor& x, std::int64_t stride = 1);
  Features activated(const at::Tensor& x) const;
  Features joined(std::int64_t level, const at::Tensor& coarse, const at::Tensor& skip) const;
  void convolve(const std::string& name, const at::Tensor& x, const Outcome& outcome) const;
  void block(const std::string& name, Features& features, const at::Tensor& embedding, bool activate, Record* record) const;
  void blocks(const char* way, std::int64_t level, Features& features, const at::Tensor& embedding, bool activate, Record* record) const;
  /// `gradient` by the features after the blocks -> by those before; `record` moves on.
  void blocks_adjoint(const char* way, std::int64_t level, at::Tensor& gradient, BlocksBackwards& record) const;

  UNetConfig config_;
  Weights weights_;
  std::map<std::string, Layer> layers_;  // 3x3 convolutions, transformed, the halves of the joins, and the adjoints of all
};

}  // namespace postrec
