// Somebody's TorchScript module as a prior: measured, and used only with --allow-code.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>

#include "app_fixture.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class Module : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    torch::jit::Module module("denoiser");
    module.define("def forward(self, x, sigma):\n  return x * (0.1 / (0.1 + (sigma * sigma).reshape(-1, 1, 1, 1)))\n");
    module.save(path("module.pt"));
  }
  std::vector<std::string> measure(const std::string& output, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"train", path("mr.nii.gz"), "--measure", path("module.pt"), "--licence", "CC0", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST_F(Module, IsMeasuredAndReconstructs) {
  const Ended ended = run_postrec(measure("mine.safetensors", {"--trained-on", "nothing", "--allow-code"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto prior = load_prior(path("mine.safetensors"), 0.0, CodePolicy::kAllow);
  EXPECT_EQ(prior->info().trained_on, "nothing");
  EXPECT_EQ(prior->info().channels, "real, imaginary");
  EXPECT_LT(prior->range().minimum, 0.1);
  EXPECT_GT(prior->range().maximum, 1.0);

  const std::vector<std::string> more{"--slice", "1", "--prior", path("mine.safetensors"), "--samples", "2", "--steps", "3"};
  expect_error(run_postrec(mr_arguments("refused", more)), 69, {"mine.safetensors", "module.pt", "--allow-code"});
  expect_nothing_written("refused");
  std::vector<std::string> allowed = mr_arguments("out", more);
  allowed.push_back("--allow-code");
  const Ended reconstructed = run_postrec(allowed);
  ASSERT_EQ(reconstructed.code, 0) << reconstructed.err;
  EXPECT_EQ(run_json("out")["prior"]["name"], "mine");
}

TEST_F(Module, Mistakes) {
  expect_error(run_postrec(measure("a.safetensors", {"--trained-on", "nothing"})), 69, {"module.pt", "--allow-code"});
  expect_error(run_postrec(measure("a.safetensors", {"--allow-code"})), 64, {"--trained-on"});
  expect_error(run_postrec(measure("a.safetensors", {"--allow-code", "--trained-on", "x", "--prediction", "x0"})), 64, {"x0", "image"});
  fs::create_directories(path("sub"));
  expect_error(run_postrec(measure("sub/a.safetensors", {"--allow-code", "--trained-on", "x"})), 64, {"beside", "module.pt"});
  write_text("module.pt", "no module");
  expect_error(run_postrec(measure("a.safetensors", {"--allow-code", "--trained-on", "x"})), 65, {"module.pt", "TorchScript"});
  EXPECT_FALSE(fs::exists(path("a.safetensors")));
  EXPECT_FALSE(fs::exists(path("sub/a.safetensors")));
}

}  // namespace
}  // namespace postrec
