#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "postrec/network_precision.hpp"

namespace postrec {

class InferenceNetwork;

/// Named weights, float32.
using Weights = std::map<std::string, at::Tensor>;

/// What shape a U-Net has. The defaults are the best of the table in core/README.md at equal training time on a CPU.
struct UNetConfig {
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 2;
  std::vector<std::int64_t> widths{32, 64, 128, 128};  ///< channels per level, each level half the resolution of the one before
  std::vector<std::int64_t> blocks{1, 2, 2, 2};        ///< residual blocks per level, on the way down and again on the way up
  std::int64_t embedding = 128;                        ///< size of the noise-level embedding
  std::int64_t conditions = 0;                         ///< numbers that the embedding takes beside the noise level
  std::int64_t unshuffle = 1;                          ///< pixels folded into channels at the input, along each axis: 1 (none), 2 or 4
  bool group_norm = false;                             ///< group normalisation before each activation of a block
  bool attention = false;                              ///< self-attention after the blocks of the coarsest level

  /// Throws Error(kBadData) on sizes that make no network.
  void validate() const;
};

/// A fully convolutional U-Net with residual blocks whose features are scaled and shifted by the noise level (FiLM). [Ronneberger 2015; Perez 2018]
///
/// Any image size: the input is extended by reflection to whole cells of the coarsest level, the output cut back.
///
/// Images of another device than the weights: weights that take no gradient are copied there once, for all copies of the network, and stay.
class UNet {
 public:
  /// Throws Error(kBadData) unless `weights` are exactly the tensors of shapes(config).
  /// Weights that take no gradient are read here, once: changing them later changes nothing that is asked for without one.
  UNet(UNetConfig config, Weights weights);

  /// The same network evaluated in these numbers. The weights stay as they are: each device has a rounded copy.
  UNet in_precision(NetworkPrecision precision) const;
  NetworkPrecision precision() const { return precision_; }

  static std::map<std::string, std::vector<std::int64_t>> shapes(const UNetConfig& config);
  /// He-normal weights from the seed's streams; the last layer of each block and of the network is 0, so that a new network answers 0.
  /// The layer of the conditions is 0 too, and the others are what they are without it.
  static Weights initial_weights(const UNetConfig& config, std::uint64_t seed);

  const UNetConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }

  /// x float32 [B, in_channels, H, W] and the noise level's coordinate c_noise [B] -> float32 [B, out_channels, H, W]. Differentiable. All images of a batch go
  /// together, and channels are innermost; only without gradients on a CPU they go one by one.
  /// `condition` [B or 1, conditions]; undefined stands for zeros.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& condition = {}) const;

 private:
  class Placements;

  std::shared_ptr<const UNet> placed_on(const c10::Device& device) const;
  at::Tensor features(const at::Tensor& x, const at::Tensor& embedding) const;
  at::Tensor block(const std::string& name, const at::Tensor& x, const at::Tensor& embedding) const;
  at::Tensor convolution(const std::string& name, const at::Tensor& x, std::int64_t stride = 1) const;
  at::Tensor normalized(const std::string& name, const at::Tensor& x) const;
  at::Tensor attended(const at::Tensor& x) const;
  at::Tensor embed(const at::Tensor& c_noise, const at::Tensor& condition) const;
  const at::Tensor& weight(const std::string& name) const { return weights_.at(name); }

  UNetConfig config_;
  Weights weights_;
  NetworkPrecision precision_ = NetworkPrecision::kFloat32;
  std::shared_ptr<const InferenceNetwork> inference_;  // null: there is none for these weights
  std::shared_ptr<Placements> placements_;             // null: these weights are where and what they must be
};

}  // namespace postrec
