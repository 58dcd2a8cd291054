// A whole reconstruction on a device in host memory, from the measurement to the files of the result: what every part of it does with tensors that are not the host's.
#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>

#include "app_fixture.hpp"
#include "cli/progress.hpp"
#include "networks.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/prior_file.hpp"
#include "pretend_device.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class DeviceRun : public AppTest {
 protected:
  CaseOptions mri() const {
    CaseOptions how;
    how.input = path("mr.nii.gz");
    how.simulate = how.smooth_phase = true;
    how.operator_name = "mri-fourier";
    how.settings = {{"mask-pattern", "equispaced"}, {"acceleration", "2"}, {"n-acs-lines", "5"}};
    how.simulate_coils = 2;
    how.slice = 1;
    how.noise = 0.1;
    return how;
  }

  CaseOptions ct() const {
    CaseOptions how;
    how.input = path("ct.nii.gz");
    how.simulate = true;
    how.operator_name = "ct-radon";
    how.settings = {{"n-views", "12"}};
    how.unit = IntensityUnit::kHounsfield;
    how.noise = 1.0;
    return how;
  }

  /// Reconstructs on a device and writes the result as the program does.
  nlohmann::ordered_json run_on(const std::string& device, const CaseOptions& request, const std::string& prior, const std::string& output) const {
    SessionOptions how;
    how.plugins.folders = PluginSearch::default_folders({});
    how.device = device;
    how.prior = path(prior);
    how.sampler.n_samples = 3;
    how.sampler.n_steps = 9;                   // enough for the Jacobian
    Session session(how);
    const Case input = read_case(request, session.registry());
    Progress progress(static_cast<std::int64_t>(input.slices.size()));
    const CaseResult result = reconstruct_case(input, session, progress);
    fs::create_directory(path(output));
    Questions questions;
    questions.force = true;                    // no network that nobody has trained fits
    return write_result(path(output), {"test"}, input, result, session, questions);
  }

  void expect_the_same_there(const CaseOptions& request, const std::string& prior) const {
    const auto here = run_on("cpu", request, prior, "here_" + prior);
    pretend::reset_traffic();
    const auto there = run_on(pretend::device().str(), request, prior, "there_" + prior);
    EXPECT_GT(pretend::traffic().to_device, 0);
    EXPECT_EQ(there["device"], pretend::device().str());
    // Conjugate gradients stop at 3e-4 of a sample's spread, and the device looks later than the CPU does; the rest is float32 roundings.
    for (const char* name : {"mean.nii.gz", "sample_1.nii.gz", "standard_deviation.nii.gz"}) {
      const at::Tensor a = read_scan(path("here_" + prior + "/" + name)).image.pixels, b = read_scan(path("there_" + prior + "/" + name)).image.pixels;
      EXPECT_LT(((a - b).norm() / a.norm()).item<double>(), 3e-3) << name;
    }
    const auto fit_here = here["prior_fit"]["slices"][0], fit_there = there["prior_fit"]["slices"][0];
    EXPECT_NEAR(fit_there["visible_share"].get<double>(), fit_here["visible_share"].get<double>(), 0.01);
    ASSERT_EQ(fit_there["error_inflation"].is_null(), fit_here["error_inflation"].is_null());
    if (const auto inflation = fit_here["error_inflation"]; !inflation.is_null()) EXPECT_NEAR(fit_there["error_inflation"].get<double>(), inflation.get<double>(), 0.01 * std::abs(inflation.get<double>()));
    for (const std::string& output : {"here_" + prior, "there_" + prior}) fs::remove_all(path(output));
  }
};

TEST_F(DeviceRun, MriWithEveryKindOfPrior) {
  save_prior(path("network.safetensors"), test::small_network_prior(SpectralBasis::kDft, 1));
  for (const char* prior : {"mr.safetensors", "network.safetensors"}) {
    SCOPED_TRACE(prior);
    expect_the_same_there(mri(), prior);
  }
}

TEST_F(DeviceRun, MriWithNoiseThatCoilsShare) {
  CaseOptions how = mri();
  write_text("covariance.txt", "2.0 0.5\n0.5 1.0\n");
  how.noise.reset();
  how.sigma_y.reset();
  how.noise_model.covariance = path("covariance.txt");
  expect_the_same_there(how, "mr.safetensors");
}

TEST_F(DeviceRun, CtInLineIntegralsAndPhotons) {
  expect_the_same_there(ct(), "ct.safetensors");
  CaseOptions photons = ct();
  photons.noise.reset();
  photons.noise_model.kind = NoiseKind::kPoisson;
  photons.noise_model.kind_given = true;
  photons.noise_model.blank_scan = "20000";
  expect_the_same_there(photons, "ct.safetensors");
}

TEST_F(DeviceRun, SaysThatAnOperatorWorksOnTheCpu) {
  const auto said_on = [&](const std::string& device) {
    testing::internal::CaptureStderr();
    (void)run_on(device, ct(), "ct.safetensors", "told");
    fs::remove_all(path("told"));
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(said_on(pretend::device().str()).find("'ct-radon' works on the CPU"), std::string::npos);
  EXPECT_EQ(said_on("cpu").find("works on the CPU"), std::string::npos);
}

}  // namespace
}  // namespace postrec
