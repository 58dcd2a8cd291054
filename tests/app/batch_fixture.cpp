#include "batch_fixture.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "postrec/data/write_image.hpp"

namespace postrec {
namespace fs = std::filesystem;

std::string BatchTest::bids_case(int number) { return std::string("sub-") + (number < 10 ? "0" : "") + std::to_string(number) + "_T1w"; }

void BatchTest::make_bids(int n) const {
  for (int i = 1; i <= n; ++i) {
    const std::string name = bids_case(i), subject = name.substr(0, name.find('_'));
    fs::create_directories(folder_ / "in" / subject / "anat");
    Image image{test_volume(1, kHeight, kWidth) + i, {}, IntensityUnit::kArbitrary};
    image.geometry.spacing_mm = {1.25, 1.25, 3.0};
    write_nifti(folder_ / "in" / subject / "anat" / (name + ".nii.gz"), image);
  }
}

std::vector<std::string> BatchTest::plan_words(const std::string& output, const std::vector<std::string>& more, const std::string& input) const {
  std::vector<std::string> words = {"batch", "plan", path(input), path(output)};
  words.insert(words.end(), more.begin(), more.end());
  for (const char* word : {"--simulate", "--operator", "mri-fourier", "--simulate-coils", "2", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set", "n-acs-lines=5",
                           "--noise", "0.1", "--samples", "2", "--steps", "3"})
    words.emplace_back(word);
  words.insert(words.end(), {"--prior", path("mr.safetensors")});
  return words;
}

void BatchTest::plan(const std::string& output, const std::vector<std::string>& more) const {
  const Ended ended = run_postrec(plan_words(output, more));
  ASSERT_EQ(ended.code, 0) << ended.err;
}

Ended BatchTest::run_batch(const std::string& output, const std::vector<std::string>& more, const ChildOptions& options) const {
  std::vector<std::string> words = {"batch", "run", path(output)};
  words.insert(words.end(), more.begin(), more.end());
  return run_postrec(words, options);
}

nlohmann::json BatchTest::status(const std::string& output, const std::vector<std::string>& more) const {
  std::vector<std::string> words = {"batch", "status", path(output), "--log-format", "json"};
  words.insert(words.end(), more.begin(), more.end());
  const Ended ended = run_postrec(words);
  EXPECT_EQ(ended.code, 0) << ended.err;
  return nlohmann::json::parse(ended.out, nullptr, false);
}

std::map<std::string, std::string> BatchTest::states(const std::string& output) const {
  std::map<std::string, std::string> found;
  const nlohmann::json told = status(output);
  for (const auto& row : told["cases"]) found[row["case"]] = row["state"];
  return found;
}

std::vector<nlohmann::json> BatchTest::events(const std::string& output, const std::string& name) const {
  std::vector<nlohmann::json> found;
  for (const auto& entry : fs::directory_iterator(folder_ / output / ".events")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const auto event = nlohmann::json::parse(line);
      if (event["event"] == name) found.push_back(event);
    }
  }
  return found;
}

std::map<std::string, nlohmann::json> BatchTest::digests(const std::string& output) const {
  std::map<std::string, nlohmann::json> found;
  for (const auto& entry : fs::directory_iterator(folder_ / output)) {
    std::ifstream file(entry.path() / "done.json");
    if (file) found[entry.path().filename().string()] = nlohmann::json::parse(file)["outputs"];
  }
  return found;
}

std::vector<std::string> BatchTest::leftovers(const std::string& output) const {
  std::vector<std::string> names;
  const fs::path work = folder_ / output / ".work";
  if (!fs::exists(work)) return names;
  for (const auto& entry : fs::recursive_directory_iterator(work))
    if (entry.is_regular_file()) names.push_back(entry.path().lexically_relative(work).string());
  return names;
}

int start_postrec(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>(POSTREC_PROGRAM)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  const int nowhere = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) dup2(nowhere, fd);
  setenv("OMP_WAIT_POLICY", "passive", 1);
  unsetenv("SLURM_ARRAY_TASK_ID");
  execv(POSTREC_PROGRAM, argv.data());
  _exit(127);
}

int wait_for(int pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace postrec
