// Volumes: memory does not grow with the number of slices, edge slices have the scale of the volume, and what lies beside the output goes with the process.
#include <ATen/ATen.h>
#include <sys/vfs.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include "app_fixture.hpp"
#include "case/coil_maps.hpp"
#include "case/volume_scale.hpp"
#include "mrd_files.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr long kTmpfs = 0x01021994;

/// Memory of a process in bytes that the kernel cannot take back.
std::int64_t kept_bytes(int pid, bool with_shared) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::int64_t kilobytes = 0;
  for (std::string line; std::getline(status, line);)
    if (line.rfind("RssAnon:", 0) == 0 || (with_shared && line.rfind("RssShmem:", 0) == 0)) kilobytes += std::stoll(line.substr(line.find(':') + 1));
  return kilobytes * 1024;
}

class Volume : public AppTest {
 protected:
  static constexpr std::int64_t kCoils = 4, kN = 128;

  /// The most memory of a run that must succeed, from its first message on: looked at every 2 ms.
  std::int64_t peak_bytes(std::vector<std::string> arguments) const {
    struct statfs disk {};
    ::statfs(folder_.c_str(), &disk);
    const bool with_shared = disk.f_type != kTmpfs;  // files there are memory
    std::atomic<int> pid{0};
    std::atomic<bool> over{false};
    std::int64_t peak = 0;
    std::thread sampler([&] {
      for (; !over; std::this_thread::sleep_for(std::chrono::milliseconds(2)))
        if (pid != 0) peak = std::max(peak, kept_bytes(pid, with_shared));
    });
    ChildOptions options;
    options.watch = [&](int child, const std::string&) { pid = child; };
    arguments.insert(arguments.end(), {"--log-format", "json", "--threads", "1"});
    const Ended ended = run_postrec(arguments, options);
    over = true;
    sampler.join();
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_GT(peak, 0);
    return peak;
  }

  /// What two thirds of the slices may take at most: less than half of any one of k-space (.5 MB a slice), maps (as much) and results (.5 MB).
  static constexpr std::int64_t kTolerance = 4 << 20;

  std::vector<std::string> reconstruct(const std::string& input, const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"reconstruct", path(input), "--operator", "mri-fourier", "--prior", path("mr.safetensors"), "--samples", "3",
                                          "--steps", "2", "--force", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  /// k-space of slices that get darker towards both ends, fully sampled centre, with noise.
  at::Tensor kspace(std::int64_t slices) const {
    const at::Tensor maps = birdcage_maps(kCoils, kN, kN), image = test_volume(1, kN, kN)[0];
    const at::Tensor one = at::fft_fftshift(at::fft_fft2(at::fft_ifftshift(maps * image, at::IntArrayRef{-2, -1}), c10::nullopt, {-2, -1}, "ortho"), at::IntArrayRef{-2, -1});
    at::Tensor all = at::empty({slices, kCoils, kN, kN}, at::kComplexFloat);
    for (std::int64_t slice = 0; slice < slices; ++slice)
      all[slice].copy_(one + RandomStreams(3, slice, 1).normal(0, one.sizes().vec(), at::kComplexFloat)[0]);
    return all;
  }
};

TEST_F(Volume, MemoryDoesNotGrowWithSlicesOfKspace) {
  std::int64_t peak[2] = {};
  for (const std::int64_t times : {1, 3}) {
    write_cfl(path("k"), kspace(12 * times));
    peak[times / 2] = peak_bytes(reconstruct("k.cfl", "out", {"--threshold", "50", "--on-existing", "overwrite"}));
  }
  EXPECT_EQ(read_scan(path("out/mean.nii.gz")).image.pixels.size(0), 36);
  EXPECT_LT(peak[1], peak[0] + kTolerance);
  RecordProperty("peak_kb_12", static_cast<int>(peak[0] >> 10));
  RecordProperty("peak_kb_36", static_cast<int>(peak[1] >> 10));
}

TEST_F(Volume, MemoryDoesNotGrowWithSlicesOfRawData) {
  std::int64_t peak[2] = {};
  for (const std::int64_t times : {1, 3}) {
    fs::remove(path("scan.h5"));
    {
      test::MrdWriter writer(path("scan.h5"), kN, kN);
      writer.add_all(kspace(9 * times));
    }
    peak[times / 2] = peak_bytes(reconstruct("scan.h5", "out", {"--on-existing", "overwrite"}));
  }
  EXPECT_LT(peak[1], peak[0] + kTolerance);
}

TEST_F(Volume, MemoryDoesNotGrowWithSlicesOfASimulatedScan) {
  std::int64_t peak[2] = {};
  for (const std::int64_t times : {1, 3}) {
    write_nifti(path("scan.nii"), Image{test_volume(1, kN, kN).expand({12 * times, 1, kN, kN}), {}, IntensityUnit::kArbitrary});
    peak[times / 2] = peak_bytes(reconstruct("scan.nii", "out", {"--simulate", "--simulate-coils", "4", "--noise", "0.05", "--on-existing", "overwrite"}));
  }
  EXPECT_LT(peak[1], peak[0] + kTolerance);
}

// Slice 0 is hardly there and slice 2 empty: both are seen at .9 of the brightness of the volume, not blown up to that of a full slice.
TEST_F(Volume, EdgeSlicesHaveTheScaleOfTheVolumeAloneAndAmongOthers) {
  Image image{test_volume(5, 17, 19), {}, IntensityUnit::kArbitrary};
  image.pixels[0].mul_(0.05);
  image.pixels[2].zero_();
  write_nifti(path("mr.nii.gz"), image);
  ASSERT_EQ(run_postrec(mr_arguments("all")).code, 0);
  const auto slices = run_json("all")["slices"];
  EXPECT_EQ(slices[0]["scale"], slices[2]["scale"]);
  // The full slices have about the percentile of all.
  EXPECT_NEAR(slices[0]["scale"].get<double>(), 0.9 * slices[3]["scale"].get<double>(), 0.15 * slices[3]["scale"].get<double>());
  const at::Tensor samples = read_scan(path("all/sample_1.nii.gz")).image.pixels;
  for (const int slice : {0, 2, 3}) {
    const std::string name = "alone" + std::to_string(slice);
    ASSERT_EQ(run_postrec(mr_arguments(name, {"--slice", std::to_string(slice)})).code, 0);
    EXPECT_EQ(run_json(name)["slices"][0]["scale"], slices[slice]["scale"]);
    EXPECT_TRUE(read_scan(path(name + "/sample_1.nii.gz")).image.pixels[0].equal(samples[slice])) << slice;
  }
}

TEST_F(Volume, SlicesAcross) {
  EXPECT_EQ(slices_across(1, 8), (std::vector<std::int64_t>{0}));
  EXPECT_EQ(slices_across(3, 8), (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(slices_across(100, 4), (std::vector<std::int64_t>{12, 37, 62, 87}));
}

// What does not fit beside the output is said before anything is computed.
TEST_F(Volume, NoRoomForIntermediateImages) {
  ChildOptions disk;
  disk.file_size_limit = 3 * 17 * 19 * 4 - 1;
  expect_error(run_postrec(mr_arguments("out"), disk), 74, {"no room", "free disk space"});
  expect_nothing_written("out");
}

TEST_F(Volume, AKilledRunLeavesNoFileThatIsNotACheckpoint) {
  ChildOptions options;
  options.watch = [](int pid, const std::string& err) {
    if (err.find("\"progress\"") != std::string::npos) kill(pid, SIGKILL);
  };
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--steps", "2000", "--log-format", "json"}), options).code, 128 + SIGKILL);
  std::int64_t n_partial = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (entry.path().string().find(".partial-") == std::string::npos) continue;
    ++n_partial;
    EXPECT_TRUE(entry.is_directory()) << entry.path();
  }
  EXPECT_EQ(n_partial, 1);                     // the folder for the result, empty
}

// K-space is read where it lies: when somebody cuts it meanwhile, that is one clear error and not a signal.
TEST_F(Volume, AnInputThatIsCutMeanwhile) {
  write_cfl(path("k"), kspace(8));
  ChildOptions options;
  bool cut = false;
  options.watch = [&](int, const std::string& err) {
    if (!cut && err.find("\"progress\"") != std::string::npos) fs::resize_file(path("k.cfl"), 4096), cut = true;
  };
  auto arguments = reconstruct("k.cfl", "out", {"--sigma-y", "1", "--log-format", "json"});
  arguments[9] = "100";  // levels: time to cut
  const Ended ended = run_postrec(arguments, options);
  EXPECT_EQ(ended.code, 74) << ended.err;
  EXPECT_NE(ended.err.find("it was cut, or the disk fails"), std::string::npos) << ended.err;
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace postrec
