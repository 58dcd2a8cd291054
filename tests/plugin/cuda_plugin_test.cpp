// The CUDA-only plugin of plugins/example: its arithmetic on the host, what it does where there is no GPU, and what it computes where there is one.
#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "downsample.hpp"
#include "dynamic_library.hpp"
#include "plugin_test_support.hpp"
#include "postrec/abi.h"
#include "postrec/conformance.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

using test::expect_error;
using test::plugin_folder;
using test::search_in;

at::Tensor random(at::IntArrayRef shape, std::uint64_t draw) { return RandomStreams(3, 0, shape[0]).normal(draw, shape.slice(1).vec(), at::kFloat); }

double relative_difference(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

/// The plugin's work on the host, in place of the kernel: work(0) ... work(n - 1).
struct OnHost {
  example::Blocks blocks;

  template <class Work>
  at::Tensor run(const at::Tensor& in, std::int64_t height, std::int64_t width, auto... more) const {
    const at::Tensor from = in.contiguous(), out = at::empty({in.size(0), in.size(1), height, width});
    const Work work{blocks, more..., from.const_data_ptr<float>(), out.mutable_data_ptr<float>()};
    for (std::int64_t i = 0; i < out.numel(); ++i) work(i);
    return out;
  }
  at::Tensor forward(const at::Tensor& x) const { return run<example::MeanOfEachBlock>(x, blocks.rows(), blocks.columns()); }
  at::Tensor adjoint(const at::Tensor& v) const { return run<example::AdjointOfMeans>(v, blocks.height, blocks.width); }
  at::Tensor pseudo_inverse(const at::Tensor& y) const { return run<example::RepeatMeans>(y, blocks.height, blocks.width); }
  at::Tensor normal_solve(float lambda, const at::Tensor& b) const { return run<example::SolveEachBlock>(b, blocks.height, blocks.width, lambda); }
};

const example::Blocks kCases[] = {{8, 12, 4}, {7, 11, 3}, {17, 13, 2}, {5, 5, 1}, {3, 2, 9}};

// Sums of at most 16 terms in another order.
constexpr double kRounding = 1e-6;

TEST(DownsampleArithmetic, IsAveragePoolingOfLibTorch) {
  for (const example::Blocks& blocks : kCases) {
    const OnHost op{blocks};
    const at::Tensor x = random({3, 2, blocks.height, blocks.width}, 1), v = random({3, 2, blocks.rows(), blocks.columns()}, 2);
    const std::array<std::int64_t, 2> block{std::min(blocks.factor, blocks.height), std::min(blocks.factor, blocks.width)}, no_padding{0, 0};
    EXPECT_LE(relative_difference(op.forward(x), at::avg_pool2d(x, block, block, no_padding, true, false)), kRounding) << blocks.factor;
    const at::Tensor back = at::avg_pool2d_backward(v, x, block, block, no_padding, true, false, std::nullopt);
    EXPECT_LE(relative_difference(op.adjoint(v), back), kRounding) << blocks.factor;
    EXPECT_LE(relative_difference(op.forward(op.pseudo_inverse(v)), v), kRounding) << blocks.factor;
  }
}

/// Skips where the plugin was not built.
class CudaPlugin : public testing::Test {
 protected:
  void SetUp() override {
#ifndef POSTREC_HAS_CUDA
    GTEST_SKIP() << "built without nvcc";
#endif
    registry_ = std::make_unique<PluginRegistry>(search_in({plugin_folder("downsample")}));
  }

  static Parameters parameters(const example::Blocks& blocks) {
    Parameters p;
    p.set("channels", std::int64_t{2});
    p.set("height", blocks.height);
    p.set("width", blocks.width);
    p.set("factor", blocks.factor);
    return p;
  }

  std::unique_ptr<PluginRegistry> registry_;
};

TEST_F(CudaPlugin, IsListedAndDescribedWithoutAGpu) {
  ASSERT_EQ(registry_->plugins().size(), 1u);
  const PluginInfo& info = registry_->plugins()[0];
  EXPECT_EQ(info.id, "org.example.downsample");
  EXPECT_EQ(info.operators, std::vector<std::string>{"downsample"});
  EXPECT_EQ(info.abi, "1.0");
  EXPECT_EQ(info.libtorch, "");
  const OperatorType& type = registry_->operator_type("downsample");
  EXPECT_TRUE(type.devices.cuda);
  EXPECT_FALSE(type.devices.cpu);
  ASSERT_EQ(type.parameters.size(), 4u);
  EXPECT_EQ(type.parameters[3].key, "factor");
  EXPECT_EQ(type.parameters[3].default_text, "2");
  EXPECT_TRUE(registry_->problems().empty());
}

TEST_F(CudaPlugin, WithoutAGpuThereIsOneClearError) {
  if (at::hasCUDA()) GTEST_SKIP() << "a CUDA device is here, so the operator can be made";
  expect_error(ErrorKind::kUnavailable, "operator 'downsample' works on CUDA only, and there is no CUDA device",
               [&] { registry_->make("downsample", parameters(kCases[0])); });
  // What is wrong wherever it runs is told first.
  example::Blocks none = kCases[0];
  none.factor = 0;
  expect_error(ErrorKind::kConfiguration, "factor", [&] { registry_->make("downsample", parameters(none)); });
}

/// The operator at 7 x 11 pixels through the C functions, without a host between. It is handed tensors of a GPU that no machine has.
class CudaPluginInC : public CudaPlugin {
 protected:
  void SetUp() override {
    CudaPlugin::SetUp();
    if (IsSkipped()) return;
    const DynamicLibrary library(plugin_folder("downsample") / "downsample.so");
    const auto entry = reinterpret_cast<postrec_plugin_entry>(library.symbol(POSTREC_PLUGIN_ENTRY));
    ASSERT_NE(entry, nullptr);
    const postrec_plugin* plugin = nullptr;
    ASSERT_EQ(entry(POSTREC_ABI_VERSION, &plugin, &error_), POSTREC_OK);
    type_ = plugin->operator_types[0];
    const postrec_parameter channels = integer("channels", 1), height = integer("height", 7), width = integer("width", 11), factor = integer("factor", 3);
    const postrec_parameter* const given[] = {&channels, &height, &width, &factor};
    ASSERT_EQ(type_->create(type_, &call_, given, 4, &op_, &error_), POSTREC_OK) << message_.data();
  }
  void TearDown() override {
    if (op_) type_->destroy(op_);
  }

  static postrec_parameter integer(const char* key, std::int64_t value) {
    return {POSTREC_ABI_VERSION, sizeof(postrec_parameter), key, POSTREC_INTEGER, 0, value, 0, nullptr, nullptr, 0, nullptr};
  }

  postrec_status forward(std::int64_t batch) {
    const std::int64_t images[] = {batch, 1, 7, 11}, means[] = {batch, 1, 3, 4}, strides[] = {77, 77, 11, 1};
    const auto on_no_gpu = [&](const std::int64_t* shape) {
      return postrec_tensor{POSTREC_ABI_VERSION, sizeof(postrec_tensor), nullptr, shape, strides, 4, POSTREC_F32, POSTREC_DEVICE_CUDA, 9999};
    };
    const postrec_tensor in = on_no_gpu(images), out = on_no_gpu(means);
    return type_->forward(op_, &call_, &in, &out, &error_);
  }

  std::array<char, 512> message_{}, hint_{};
  postrec_error error_{POSTREC_ABI_VERSION, sizeof(postrec_error), message_.data(), message_.size(), hint_.data(), hint_.size()};
  postrec_call call_{POSTREC_ABI_VERSION, sizeof(postrec_call), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  const postrec_operator_type* type_ = nullptr;
  void* op_ = nullptr;
};

TEST_F(CudaPluginInC, SaysWhatItIsWithoutAGpu) {
  postrec_tensor_spec domain{POSTREC_ABI_VERSION, sizeof domain, 0, 0, {}}, codomain = domain;
  ASSERT_EQ(type_->domain(op_, &domain, &error_), POSTREC_OK);
  ASSERT_EQ(type_->codomain(op_, &codomain, &error_), POSTREC_OK);
  const auto shape = [](const postrec_tensor_spec& spec) { return std::vector<std::int64_t>(spec.shape, spec.shape + spec.n_dims); };
  EXPECT_EQ(shape(domain), (std::vector<std::int64_t>{1, 7, 11}));
  EXPECT_EQ(shape(codomain), (std::vector<std::int64_t>{1, 3, 4}));
  double bound = 0;
  ASSERT_EQ(type_->norm_bound(op_, &bound, &error_), POSTREC_OK);
  EXPECT_DOUBLE_EQ(bound, 1 / std::sqrt(2.0));  // the last block has 1 x 2 pixels
}

TEST_F(CudaPluginInC, AMissingGpuIsAStatusAndAText) {
  for (int time = 0; time < 2; ++time) {
    message_.fill(0);
    EXPECT_EQ(forward(2), POSTREC_UNAVAILABLE);
    EXPECT_EQ(std::string(message_.data()).rfind("the GPU did not start: ", 0), 0u) << message_.data();
    EXPECT_GT(std::string(message_.data()).size(), 30u) << message_.data();
    EXPECT_NE(std::string(hint_.data()).find("driver"), std::string::npos) << hint_.data();
  }
  EXPECT_EQ(forward(0), POSTREC_OK);  // nothing to do needs no GPU
}

class CudaPluginOnGpu : public CudaPlugin {
 protected:
  void SetUp() override {
    CudaPlugin::SetUp();
    if (!IsSkipped() && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(CudaPluginOnGpu, ComputesWhatTheHostComputes) {
  for (const example::Blocks& blocks : kCases) {
    SCOPED_TRACE(testing::Message() << blocks.height << " x " << blocks.width << " by " << blocks.factor);
    const auto op = registry_->make("downsample", parameters(blocks));
    const OnHost host{blocks};
    for (const std::int64_t batch : {1, 5}) {
      const at::Tensor x = random({batch, 2, blocks.height, blocks.width}, 1), v = random({batch, 2, blocks.rows(), blocks.columns()}, 2);
      const at::Tensor x_there = x.to(at::kCUDA), v_there = v.to(at::kCUDA), y = op->forward(x_there);
      EXPECT_TRUE(y.is_cuda());
      // Fused multiply-adds are nvcc's choice.
      EXPECT_LE(relative_difference(y.cpu(), host.forward(x)), kRounding);
      EXPECT_LE(relative_difference(op->adjoint(v_there).cpu(), host.adjoint(v)), kRounding);
      EXPECT_LE(relative_difference(op->pseudo_inverse(v_there).cpu(), host.pseudo_inverse(v)), kRounding);
      EXPECT_LE(relative_difference(op->normal_solve(0.3, x_there).cpu(), host.normal_solve(0.3f, x)), kRounding);
      EXPECT_LE(relative_difference(op->forward(x), host.forward(x)), kRounding);  // the host copies there and back
    }
  }
}

TEST_F(CudaPluginOnGpu, WorksOnTheStreamOfTheCall) {
  const example::Blocks blocks{512, 512, 4};
  const auto op = registry_->make("downsample", parameters(blocks));
  const at::Tensor image = random({1, 2, 512, 512}, 1);
  at::Tensor x = at::zeros_like(image, at::kCUDA), busy = random({4096, 4096}, 2).to(at::kCUDA);
  const at::Tensor image_there = image.to(at::kCUDA);
  (void)op->forward(x).cpu();  // all is loaded and done before the race begins
  at::Tensor y;
  {
    const c10::StreamGuard guard(c10::impl::VirtualGuardImpl(at::kCUDA).getStreamFromGlobalPool(at::Device(at::kCUDA, 0)));
    for (int i = 0; i < 30; ++i) busy = busy.matmul(busy).div(4096);  // some tens of milliseconds
    x.copy_(image_there);
    y = op->forward(x).cpu();  // on any other stream it would find zeros
  }
  EXPECT_LE(relative_difference(y, OnHost{blocks}.forward(image)), kRounding);
}

TEST_F(CudaPluginOnGpu, WorksOnTheGpuOfItsTensorsAndLeavesTheCurrentOne) {
  const c10::impl::VirtualGuardImpl gpus(at::kCUDA);
  if (gpus.deviceCount() < 2) GTEST_SKIP() << "one CUDA device only";
  const at::Device second(at::kCUDA, 1), before = gpus.getDevice();
  const at::Tensor x = random({2, 2, 8, 12}, 1), y = registry_->make("downsample", parameters(kCases[0]))->forward(x.to(second));
  EXPECT_EQ(y.device(), second);
  EXPECT_EQ(gpus.getDevice(), before);
  EXPECT_LE(relative_difference(y.cpu(), OnHost{kCases[0]}.forward(x)), kRounding);
}

TEST_F(CudaPluginOnGpu, KeepsTheLaws) {
  const std::vector<LawResult> results = check_operator_type(registry_->operator_type("downsample"));
  EXPECT_GT(results.size(), 10u);
  for (const LawResult& result : results) EXPECT_TRUE(result.passed || !result.applies) << result.law << ": " << result.detail;
}

}  // namespace
}  // namespace postrec
