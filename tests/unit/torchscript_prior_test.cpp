#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "expect_error.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/random.hpp"
#include "postrec/torchscript_prior.hpp"
#include "pretend_device.hpp"
#include "safetensors.hpp"
#include "temp_folder.hpp"

namespace postrec::test {
namespace {

namespace fs = std::filesystem;

constexpr double kVariance = 2.0;              // of the white Gaussian whose denoiser the modules are

class TorchScript : public ::testing::Test {
 protected:
  /// Writes a module whose forward(x, sigma) has this body.
  fs::path write_module(const std::string& body) const {
    torch::jit::Module module("denoiser");
    module.define("def forward(self, x, sigma):\n  v = (sigma * sigma).reshape(-1, 1, 1, 1)\n" + body);
    module.save(module_.string());
    return module_;
  }
  /// The exact denoiser of white images of variance kVariance.
  fs::path write_denoiser() const { return write_module("  return x * (2.0 / (2.0 + v))\n"); }

  static std::vector<at::Tensor> white_images(std::int64_t n, at::ScalarType dtype) {
    std::vector<at::Tensor> images;
    for (std::int64_t i = 0; i < n; ++i) images.push_back(RandomStreams(5, i, 1).normal(0, {1, 24, 20 + i}, dtype).squeeze(0) * std::sqrt(kVariance));
    return images;
  }
  static TorchScriptPrior measured(const TorchScriptModule& module) {
    const SpectralBasis basis = module.convention().basis;
    const auto denoise = [&](const at::Tensor& x_t, double sigma) { return module.denoise(x_t, sigma); };
    std::vector<double> mean_squares;
    const auto images = white_images(4, basis == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat);
    ErrorTable errors = measure_error_table(denoise, basis, images, 8, 1, {0.25, 1.0, 4.0, 12.0}, &mean_squares);
    // 2 sigma^2/(2 + sigma^2) again; 2000 numbers have a relative error of 0.03, the limit is five of them.
    for (std::size_t i = 0; i < mean_squares.size(); ++i) {
      const double variance = errors.sigmas()[i] * errors.sigmas()[i];
      EXPECT_NEAR(mean_squares[i] * (kVariance + variance) / (kVariance * variance), 1.0, 0.15) << errors.sigmas()[i];
    }
    const SigmaRange range = useful_range(errors.sigmas(), mean_squares, kVariance);
    return TorchScriptPrior(module, std::move(errors), range, {"a module", "CC0", "white noise", PriorIntensity::kUnit, "", "", "elsewhere"});
  }
  void write(const fs::path& path, const std::string& bytes) const { std::ofstream(path, std::ios::binary) << bytes; }

  TempFolder folder_;
  fs::path path_ = folder_ / "prior.safetensors";
  fs::path module_ = folder_ / "module.pt";
};

// Its weights go along, once.
TEST_F(TorchScript, ADeviceHasItsOwnCopy) {
  torch::jit::Module written("denoiser");
  written.register_parameter("numerator", at::full({1, 1, 1, 1}, 2.0f), /*is_buffer=*/false);
  written.define("def forward(self, x, sigma):\n  return x * (self.numerator / (2.0 + (sigma * sigma).reshape(-1, 1, 1, 1)))\n");
  written.save(module_.string());
  const TorchScriptModule module(module_, {Prediction::kImage, ModuleInput::kVarianceExploding, SpectralBasis::kDft, 1});
  const at::Tensor x_t = RandomStreams(2, 0, 3).normal(0, {1, 9, 12}, at::kComplexFloat), there = x_t.to(pretend::device());
  EXPECT_TRUE(module.denoise(there, 0.5).cpu().equal(module.denoise(x_t, 0.5)));  // the pretend device computes on the CPU's kernels
  pretend::reset_traffic();
  (void)module.denoise(there, 0.7);
  EXPECT_EQ(pretend::traffic().to_device + pretend::traffic().to_host + pretend::traffic().waits, 0);
}

// The same denoiser, told as each prediction at each scale of the input: D = 2/(2 + sigma^2) x_t.
TEST_F(TorchScript, EveryConventionGivesTheSameImage) {
  struct Told {
    Prediction prediction;
    const char* of_x_t;  // from x_t, D and the input's scale
  };
  const std::vector<Told> all = {{Prediction::kImage, "d"}, {Prediction::kNoise, "(x_t - d) / s"}, {Prediction::kVelocity, "scale * (x_t - d) / s - scale * s * d"},
                                 {Prediction::kScore, "(d - x_t) / v / scale"}};
  const at::Tensor x_t = RandomStreams(2, 0, 3).normal(0, {1, 9, 12}, at::kComplexFloat) * 2.0;
  for (const ModuleInput input : {ModuleInput::kVarianceExploding, ModuleInput::kVariancePreserving})
    for (const Told& told : all) {
      const std::string scale = input == ModuleInput::kVarianceExploding ? "torch.ones_like(v)" : "(1.0 + v).rsqrt()";
      write_module("  s = sigma.reshape(-1, 1, 1, 1)\n  scale = " + scale + "\n  x_t = x / scale\n  d = x_t * (2.0 / (2.0 + v))\n  return " + told.of_x_t + "\n");
      const TorchScriptModule module(module_, {told.prediction, input, SpectralBasis::kDft, 1});
      for (const double sigma : {0.3, 2.0})
        EXPECT_LT((module.denoise(x_t, sigma) - x_t * (2.0 / (2.0 + sigma * sigma))).abs().max().item<double>(), 1e-5) << told.of_x_t;  // a few roundings of 10
    }
}

TEST_F(TorchScript, AComplexImageIsTwoChannels) {
  write_module("  return torch.cat([x[:, :1] * 0.5, x[:, 1:]], 1)\n");
  const TorchScriptModule module(module_, {Prediction::kImage, ModuleInput::kVarianceExploding, SpectralBasis::kDft, 1});
  const at::Tensor x_t = RandomStreams(2, 0, 2).normal(0, {1, 5, 7}, at::kComplexFloat);
  EXPECT_TRUE(at::equal(module.denoise(x_t, 1.0), at::complex((at::real(x_t) * 0.5).contiguous(), at::imag(x_t).contiguous())));
}

TEST_F(TorchScript, IsMeasuredSavedAndLoaded) {
  write_denoiser();
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const TorchScriptPrior prior = measured(TorchScriptModule(module_, {Prediction::kImage, ModuleInput::kVarianceExploding, basis, 1}));
    // c = 2 sigma^2/(2 + sigma^2) in every cell: 2000 coefficients over 64 smoothed cells, about 0.07 each; the limit is five of them.
    const double exact = kVariance / (kVariance + 1.0);
    EXPECT_LT((prior.error_covariance(1.0, {1, 8, 8}).eigenvalues() / exact).log().abs().max().item<double>(), 0.35);
    EXPECT_EQ(prior.range().minimum, 0.25);
    save_prior(path_, prior);
    expect_error(ErrorKind::kUnavailable, "--allow-code", [&] { load_prior(path_); });
    expect_error(ErrorKind::kUnavailable, path_.string(), [&] { load_prior(path_); });
    const auto loaded = load_prior(path_, 0.0, CodePolicy::kAllow);
    EXPECT_EQ(loaded->domain(), prior.domain());
    EXPECT_EQ(loaded->range().maximum, prior.range().maximum);
    EXPECT_EQ(loaded->info().licence, "CC0");
    const at::Tensor x_t = RandomStreams(3, 0, 2).normal(0, {1, 9, 11}, prior.domain().dtype);
    EXPECT_TRUE(at::equal(loaded->denoise(x_t, 0.7), prior.denoise(x_t, 0.7)));
    EXPECT_TRUE(at::equal(loaded->denoise(x_t, 0.7).narrow(0, 0, 1), prior.denoise(x_t.narrow(0, 0, 1), 0.7)));
    EXPECT_TRUE(at::equal(loaded->error_covariance(0.7, {1, 9, 11}).eigenvalues(), prior.error_covariance(0.7, {1, 9, 11}).eigenvalues()));
  }
}

TEST_F(TorchScript, IsDifferentiableOnlyWhenAskedTo) {
  const TorchScriptModule module(write_denoiser(), {Prediction::kImage, ModuleInput::kVarianceExploding, SpectralBasis::kDct, 1});
  at::Tensor x_t = at::ones({2, 1, 4, 4});
  EXPECT_FALSE(module.denoise(x_t, 1.0).requires_grad());
  x_t.set_requires_grad(true);
  module.denoise(x_t, 1.0).sum().backward();
  EXPECT_LT((x_t.grad() - 2.0 / 3.0).abs().max().item<double>(), 1e-6);
}

TEST_F(TorchScript, AnotherModuleIsRefused) {
  save_prior(path_, measured(TorchScriptModule(write_denoiser(), {Prediction::kImage, ModuleInput::kVarianceExploding, SpectralBasis::kDct, 1})));
  write_module("  return x\n");
  expect_error(ErrorKind::kBadData, "not the one that was measured", [&] { load_prior(path_, 0.0, CodePolicy::kAllow); });
  fs::remove(module_);
  expect_error(ErrorKind::kNoInput, "module.pt", [&] { load_prior(path_, 0.0, CodePolicy::kAllow); });
  const TorchScriptPrior prior = measured(TorchScriptModule(write_denoiser(), {}));
  fs::create_directories(folder_ / "elsewhere");
  expect_error(ErrorKind::kUsage, "beside", [&] { save_prior(folder_ / "elsewhere" / "prior.safetensors", prior); });
}

TEST_F(TorchScript, WhatIsNoModuleIsRefused) {
  const std::string good = [&] {
    write_denoiser();
    std::ostringstream text;
    text << std::ifstream(module_, std::ios::binary).rdbuf();
    return text.str();
  }();
  std::vector<std::string> contents = {"", "text", "\x80\x02}q\x01.", std::string("PK\x05\x06") + std::string(18, '\0'), std::string(4096, '\xff'), good.substr(0, good.size() / 2),
                                       good.substr(0, good.size() - 1)};
  for (const std::string& content : contents) {
    write(module_, content);
    expect_error(ErrorKind::kBadData, "is not TorchScript", [&] { TorchScriptModule(module_, {}); });
  }
  expect_error(ErrorKind::kNoInput, "none.pt", [&] { TorchScriptModule(folder_ / "none.pt", {}); });
  expect_error(ErrorKind::kNoInput, folder_.path().string(), [&] { TorchScriptModule(folder_.path(), {}); });
  torch::jit::Module other("other");
  other.define("def encode(self, x):\n  return x\n");
  other.save(module_.string());
  expect_error(ErrorKind::kBadData, "no forward", [&] { TorchScriptModule(module_, {}); });
}

TEST_F(TorchScript, AModuleThatFailsIsAnError) {
  const at::Tensor x_t = at::ones({1, 1, 8, 8}, at::kComplexFloat);
  for (const char* body : {"  return x[:, :, 1:]\n", "  return (x, x)\n", "  return x.double()\n"})
    expect_error(ErrorKind::kBadData, "gives no float32 tensor", [&] { TorchScriptModule(write_module(body), {}).denoise(x_t, 1.0); });
  for (const char* body : {"  assert x.size(1) == 7, 'no\\nway'\n  return x\n", "  return x.reshape(3, 5)\n"})
    expect_error(ErrorKind::kBadData, "failed on images of 8x8", [&] { TorchScriptModule(write_module(body), {}).denoise(x_t, 1.0); });
  torch::jit::Module one("one");
  one.define("def forward(self, x):\n  return x\n");
  one.save(module_.string());
  expect_error(ErrorKind::kBadData, "failed on images", [&] { TorchScriptModule(module_, {}).denoise(x_t, 1.0); });
}

// Then the batch is halved, which a module that is wrong would not help.
TEST_F(TorchScript, NoMemoryForAModuleIsKnownAsThat) {
  const TorchScriptModule module(write_module("  return (x + 1) * 2 - x - x\n"), {});
  const at::Tensor x_t = at::ones({1, 1, 64, 64}, at::kComplexFloat).to(pretend::device());
  (void)module.denoise(x_t, 1.0);
  pretend::limit_memory(pretend::memory_in_use() + 3 * 2 * 64 * 64 * sizeof(float));
  expect_error(ErrorKind::kOutOfMemory, "not enough memory for module", [&] { module.denoise(x_t, 1.0); });
  pretend::limit_memory(0);
}

// Lies of the file beside it, with a right content_sha256.
TEST_F(TorchScript, LiesOfItsFileAreRefused) {
  save_prior(path_, measured(TorchScriptModule(write_denoiser(), {})));
  const SafeTensors good = read_safetensors(path_);
  const auto refuse = [&](const std::string& key, const std::string& value) {
    SafeTensors content = good;
    content.metadata[key] = value;
    content.metadata[kContentHash] = content_sha256(content);
    write(path_, safetensors_bytes(content));
    for (const CodePolicy policy : {CodePolicy::kRefuse, CodePolicy::kAllow})
      expect_error(ErrorKind::kBadData, path_.string(), [&] { load_prior(path_, 0.0, policy); });
  };
  for (const char* name : {"", ".", "..", "../module.pt", "/etc/passwd", "sub/module.pt"}) refuse("module", name);
  for (const char* prediction : {"", "x0", "Image"}) refuse("prediction", prediction);
  for (const char* input : {"", "edm"}) refuse("input", input);
  refuse("module_sha256", "");
  refuse("basis", "dct");                      // whose images have one channel
  refuse("channels", "real");
  refuse("sigma_min", "100");
  refuse("licence", " ");
  for (const auto& [key, value] : good.metadata) {
    SafeTensors content = good;
    content.metadata.erase(key);
    if (key != "content_sha256") content.metadata[kContentHash] = content_sha256(content);
    write(path_, safetensors_bytes(content));
    expect_error(ErrorKind::kBadData, "'" + key + "'", [&] { load_prior(path_, 0.0, CodePolicy::kAllow); });
  }
}

TEST(UsefulRange, IsWhereTheDenoiserBeatsItsInputAndTheMean) {
  const std::vector<double> sigmas{0.125, 0.25, 0.5, 1.0, 4.0, 8.0};
  // Worse than x_t at 0.125 (0.0156), worse than the mean image at 4 and 8.
  const SigmaRange range = useful_range(sigmas, {0.02, 0.03, 0.1, 0.4, 1.1, 2.0}, 1.0);
  EXPECT_EQ(range.minimum, 0.25);
  EXPECT_EQ(range.maximum, 1.0);
  // The longer of two runs.
  EXPECT_EQ(useful_range(sigmas, {0.001, 0.07, 0.1, 0.4, 0.5, 2.0}, 1.0).minimum, 0.5);
  expect_error(ErrorKind::kBadData, "0 of 6", [&] { useful_range(sigmas, {1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, 1.0); });
  expect_error(ErrorKind::kBadData, "1 of 6", [&] { useful_range(sigmas, {1.0, 1.0, 0.1, 1.0, 1.0, 1.0}, 1.0); });
}

}  // namespace
}  // namespace postrec::test
