// A plugin for CUDA alone in the program: plugins/example/cuda, with a GPU and without.
#include <ATen/Context.h>

#include "app_fixture.hpp"

namespace postrec {
namespace {

const std::string kFolder = POSTREC_BINARY_DIR "/tests/plugins/downsample";

class CudaPluginInProgram : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
#ifndef POSTREC_HAS_CUDA
    GTEST_SKIP() << "built without nvcc";
#endif
  }

  std::vector<std::string> downsampled(const std::string& device) const {
    return {"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "downsample", "--plugin-dir", kFolder, "--set", "factor=2", "--noise", "0.1",
            "--prior", path("real.safetensors"), "--samples", "2", "--steps", "3", "--slice", "1", "--threads", "1", "--device", device, "--output", path("out")};
  }
};

TEST_F(CudaPluginInProgram, IsListedAndDescribed) {
  const Ended list = run_postrec({"plugins", "list", "--plugin-dir", kFolder, "--log-format", "json"});
  ASSERT_EQ(list.code, 0) << list.err;
  const auto listed = nlohmann::json::parse(list.out);
  EXPECT_EQ(listed["problems"], nlohmann::json::array());
  ASSERT_FALSE(listed["plugins"].empty());
  EXPECT_EQ(listed["plugins"][0]["id"], "org.example.downsample");
  EXPECT_EQ(listed["plugins"][0]["operators"], nlohmann::json::array({"downsample"}));
  EXPECT_EQ(listed["plugins"][0]["libtorch"], "");
  const Ended describe = run_postrec({"plugins", "describe", "downsample", "--plugin-dir", kFolder});
  EXPECT_EQ(describe.code, 0) << describe.err;
  EXPECT_NE(describe.out.find("factor  (integer, 1 to 100, default 2)"), std::string::npos) << describe.out;
  EXPECT_NE(describe.out.find("\nworks on cuda\n"), std::string::npos) << describe.out;
}

TEST_F(CudaPluginInProgram, WithoutAGpuIsOneErrorThatSaysSo) {
  if (at::hasCUDA()) GTEST_SKIP() << "a CUDA device is here, so the operator works";
  expect_error(run_postrec({"plugins", "check", kFolder + "/downsample.so"}), 69, {"'downsample' works on CUDA only", "no CUDA device"});
  for (const char* device : {"auto", "cpu"}) expect_error(run_postrec(downsampled(device)), 69, {"'downsample' works on CUDA only", "no CUDA device"});
  expect_error(run_postrec(downsampled("cuda")), 69, {"--device cuda", "no CUDA device"});
  expect_nothing_written("out");
}

TEST_F(CudaPluginInProgram, WithAGpuKeepsTheLawsAndReconstructs) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  const Ended check = run_postrec({"plugins", "check", kFolder + "/downsample.so"});
  EXPECT_EQ(check.code, 0) << check.err << check.out;
  EXPECT_NE(check.out.find("checked on cuda:0\n"), std::string::npos) << check.out;
  const Ended ended = run_postrec(downsampled("cuda"));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(run_json("out")["operator"]["name"], "downsample");
}

}  // namespace
}  // namespace postrec
