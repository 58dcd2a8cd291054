// The derivative of an InferenceNetwork by its image, back through the layers from what the pass has left.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "inference_kernels.hpp"
#include "inference_network.hpp"
#include "unet_layer_names.hpp"

namespace postrec {
namespace {

std::string adjoint_of(const char* layer, std::int64_t level, const char* half = "") { return level_name(layer, level) + half + ".adjoint"; }

}  // namespace

void InferenceNetwork::blocks_adjoint(const char* way, std::int64_t level, at::Tensor& gradient, BlocksBackwards& record) const {
  for (std::int64_t i = config_.blocks[level] - 1; i >= 0; --i, ++record) {
    const std::string name = block_name(way, level, i);
    const at::Tensor &nothing = layers_.at(name + ".conv1.adjoint").bias, inner = at::empty_like(gradient);
    convolve(name + ".conv2.adjoint", gradient, {record->scale, nothing, {}, inner, {}, record->modulated});
    convolve(name + ".conv1.adjoint", inner, {at::ones_like(nothing), nothing, gradient, gradient, {}, record->x});
  }
}

at::Tensor InferenceNetwork::adjoint_one(const at::Tensor& gradient, const Record& record) const {
  const auto levels = static_cast<std::int64_t>(config_.widths.size());
  const std::int64_t to_fill = (inference::kVector - gradient.size(1) % inference::kVector) % inference::kVector;
  const at::Tensor answer = at::constant_pad_nd(gradient, {0, 0, 0, 0, 0, to_fill}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor& nothing = layers_.at("output.adjoint").bias;
  at::Tensor g = at::empty_like(record.last);
  convolve("output.adjoint", answer, {at::ones_like(nothing), nothing, {}, g, {}, record.last});
  BlocksBackwards block = record.blocks.rbegin();
  std::vector<at::Tensor> of_skips;
  for (std::int64_t level = 0; level + 1 < levels; ++level) {
    blocks_adjoint("up", level, g, block);
    of_skips.push_back(plain(layers_.at(adjoint_of("join", level, ".skip")), g));
    const at::Tensor halved = at::avg_pool2d(g, {2, 2}, {2, 2}, 0, false, true, /*divisor_override=*/1);
    g = plain(layers_.at(adjoint_of("grow", level)), plain(layers_.at(adjoint_of("join", level, ".coarse")), halved));
  }
  for (std::int64_t level = levels - 1; level > 0; --level) {
    blocks_adjoint("down", level, g, block);
    const at::Tensor doubled = at::pixel_shuffle(plain(layers_.at(adjoint_of("shrink", level - 1)), g), 2);
    g = (of_skips[level - 1] + doubled).contiguous(at::MemoryFormat::ChannelsLast);
  }
  blocks_adjoint("down", 0, g, block);
  const at::Tensor& no_bias = layers_.at("input.adjoint").bias;
  const at::Tensor out = empty_features(g, no_bias.size(0));
  convolve("input.adjoint", g, {at::ones_like(no_bias), no_bias, {}, out, {}});
  return out.narrow(1, 0, config_.in_channels * config_.unshuffle * config_.unshuffle);
}

class InferenceNetwork::Derivative : public torch::autograd::Function<Derivative> {
 public:
  struct Pass : torch::CustomClassHolder {
    std::shared_ptr<const InferenceNetwork> network;
    std::vector<Record> records;  // one an image
  };

  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& embedding,
                            const std::shared_ptr<const InferenceNetwork>& network) {
    auto pass = c10::make_intrusive<Pass>();
    pass->network = network;
    pass->records.resize(x.size(0));
    std::vector<at::Tensor> answers;
    for (std::int64_t b = 0; b < x.size(0); ++b) answers.push_back(network->forward_one(x.narrow(0, b, 1), embedding.narrow(0, b, 1), &pass->records[b]));
    context->saved_data["pass"] = c10::IValue::make_capsule(std::move(pass));
    return at::cat(answers);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, const torch::autograd::variable_list& gradients) {
    const at::NoGradGuard no_second_derivative;
    const auto pass = c10::static_intrusive_pointer_cast<Pass>(context->saved_data["pass"].toCapsule());
    std::vector<at::Tensor> answers;
    for (std::size_t b = 0; b < pass->records.size(); ++b)
      answers.push_back(pass->network->adjoint_one(gradients[0].narrow(0, static_cast<std::int64_t>(b), 1), pass->records[b]));
    return {at::cat(answers), at::Tensor(), at::Tensor()};
  }
};

at::Tensor InferenceNetwork::differentiable(const std::shared_ptr<const InferenceNetwork>& network, const at::Tensor& x, const at::Tensor& embedding) {
  return Derivative::apply(x, embedding, network);
}

}  // namespace postrec
