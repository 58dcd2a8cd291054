#include "app_fixture.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <sstream>

#include "postrec/data/write_image.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

struct Pipe {
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  }
  std::array<int, 2> ends{};
};

[[noreturn]] void become_postrec(const std::vector<std::string>& arguments, const ChildOptions& options, int out, int err) {
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  // A child that waits shares its cores with other tests: it should sleep, not spin.
  setenv("OMP_WAIT_POLICY", "passive", 1);
  unsetenv("SLURM_ARRAY_TASK_ID");             // the tests may themselves run in an array
  for (const auto& setting : options.environment) putenv(const_cast<char*>(setting.c_str()));
  if (options.file_size_limit > 0) {
    // With the signal ignored a write beyond the limit fails as on a full disk.
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {static_cast<rlim_t>(options.file_size_limit), static_cast<rlim_t>(options.file_size_limit)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<char*> argv = {const_cast<char*>(POSTREC_PROGRAM)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(POSTREC_PROGRAM, argv.data());
  _exit(127);
}

/// Reads both pipes to their ends.
void drain(Ended& ended, int out, int err, int pid, const ChildOptions& options) {
  std::array<pollfd, 2> open = {pollfd{out, POLLIN, 0}, pollfd{err, POLLIN, 0}};
  for (int left = 2; left > 0;) {
    if (poll(open.data(), open.size(), -1) < 0) continue;
    for (auto& end : open) {
      if (end.fd < 0 || end.revents == 0) continue;
      std::array<char, 4096> buffer;
      const ssize_t n = read(end.fd, buffer.data(), buffer.size());
      if (n <= 0) {
        close(end.fd);
        end.fd = -1;
        --left;
        continue;
      }
      (end.fd == out ? ended.out : ended.err).append(buffer.data(), static_cast<std::size_t>(n));
      if (end.fd == err && options.watch) options.watch(pid, ended.err);
    }
  }
}

/// A Gaussian prior whose spectrum falls with the frequency, for images of about 1.
GaussianPrior test_prior(SpectralBasis basis, std::int64_t channels, PriorIntensity intensity, double mean, double pixel_mm) {
  constexpr std::int64_t kTable = 16;
  const double centre = basis == SpectralBasis::kDft ? kTable / 2 : 0;
  const at::Tensor offset = at::arange(kTable, at::kFloat) - centre;
  const at::Tensor square = offset * offset;
  const at::Tensor spectrum = (5.0 / (1.0 + square.unsqueeze(1) + square.unsqueeze(0)).pow(1.5)).unsqueeze(0).expand({channels, kTable, kTable}).contiguous();
  PriorInfo info;
  info.name = "test";
  info.licence = "none";
  info.trained_on = "nothing";
  info.intensity = intensity;
  return GaussianPrior(basis, spectrum.to(at::kFloat), at::full({channels}, mean, at::kFloat), pixel_mm, info);
}

}  // namespace

Ended run_postrec(const std::vector<std::string>& arguments, const ChildOptions& options) {
  Pipe out, err;
  const pid_t pid = fork();
  if (pid == 0) become_postrec(arguments, options, out.ends[1], err.ends[1]);
  close(out.ends[1]);
  close(err.ends[1]);
  Ended ended;
  drain(ended, out.ends[0], err.ends[0], pid, options);
  int status = 0;
  waitpid(pid, &status, 0);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended;
}

at::Tensor test_volume(std::int64_t slices, std::int64_t height, std::int64_t width) {
  const at::Tensor y = at::arange(height, at::kFloat).view({1, 1, height, 1}) / static_cast<double>(height);
  const at::Tensor x = at::arange(width, at::kFloat).view({1, 1, 1, width}) / static_cast<double>(width);
  const at::Tensor z = at::arange(slices, at::kFloat).view({slices, 1, 1, 1});
  const at::Tensor radius = (y - 0.5).square() + (x - 0.45).square();
  return (60 + 8 * z + 30 * at::sin(9 * x + z) * at::cos(7 * y)) * radius.lt(0.16).to(at::kFloat);
}

void AppTest::SetUp() {
  std::string pattern = (fs::path(testing::TempDir()) / "postrec_app_XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  folder_ = pattern;
  Image image{test_volume(kSlices, kHeight, kWidth), {}, IntensityUnit::kArbitrary};
  image.geometry.spacing_mm = {1.25, 1.25, 3.0};
  image.geometry.origin_mm = {-10.0, 5.0, 7.0};
  write_nifti(path("mr.nii.gz"), image);
  image.pixels = test_volume(kSlices, kHeight, kWidth) * 12 - 1000;  // air -1000, the body around 0
  write_nifti(path("ct.nii.gz"), image);
  save_prior(path("mr.safetensors"), test_prior(SpectralBasis::kDft, 1, PriorIntensity::kPercentile, 0.3, 1.25));
  save_prior(path("ct.safetensors"), test_prior(SpectralBasis::kDct, 1, PriorIntensity::kRelativeWater, 0.4, 1.25));
  save_prior(path("real.safetensors"), test_prior(SpectralBasis::kDct, 1, PriorIntensity::kPercentile, 0.3, 1.25));
}

void AppTest::TearDown() { fs::remove_all(folder_); }

nlohmann::json AppTest::run_json(const std::string& result) const { return nlohmann::json::parse(content(result + "/run.json")); }

std::string AppTest::content(const std::string& name) const {
  std::ifstream file(path(name), std::ios::binary);
  EXPECT_TRUE(file) << "cannot open " << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void AppTest::write_text(const std::string& name, const std::string& text) const { std::ofstream(path(name), std::ios::binary) << text; }

std::vector<std::string> AppTest::mr_arguments(const std::string& output, const std::vector<std::string>& more) const {
  std::vector<std::string> arguments = {"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "mri-fourier", "--set", "mask-pattern=equispaced",
                                        "--set", "acceleration=2", "--set", "n-acs-lines=5"};
  const std::vector<std::pair<std::string, std::string>> defaults = {{"--simulate-coils", "2"}, {"--noise", "0.1"}, {"--prior", path("mr.safetensors")},
                                                                     {"--samples", "3"}, {"--steps", "4"}, {"--threads", "1"}, {"--output", path(output)}};
  for (const auto& [option, value] : defaults)
    if (std::find(more.begin(), more.end(), option) == more.end() && !(option == "--steps" && std::find(more.begin(), more.end(), "--nfe") != more.end())) arguments.insert(arguments.end(), {option, value});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void AppTest::expect_nothing_written(const std::string& output) const {
  EXPECT_FALSE(fs::exists(path(output))) << output;
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_EQ(entry.path().filename().string().find("partial"), std::string::npos) << entry.path();
}

void AppTest::expect_error(const Ended& ended, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(ended.code, code) << ended.err;
  EXPECT_EQ(ended.error_lines(), 1) << ended.err;
  EXPECT_EQ(ended.err.rfind("postrec: error: ", 0), 0u) << ended.err;
  for (const auto& word : words) EXPECT_NE(ended.err.find(word), std::string::npos) << "'" << word << "' is missing in: " << ended.err;
  EXPECT_EQ(ended.out, "");
}

}  // namespace postrec
