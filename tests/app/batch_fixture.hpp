#pragma once

#include <map>
#include <string>
#include <vector>

#include "app_fixture.hpp"

namespace postrec {

/// Batches of tiny cases, well under a second each.
class BatchTest : public AppTest {
 protected:
  /// in/sub-XX/anat/sub-XX_T1w.nii.gz for XX = 01 to `n`, one slice each, all different.
  void make_bids(int n) const;
  static std::string bids_case(int number);    ///< "sub-07_T1w"

  /// Words of `postrec batch plan in OUT` with the options of a tiny reconstruction; `more` are added.
  std::vector<std::string> plan_words(const std::string& output, const std::vector<std::string>& more = {}, const std::string& input = "in") const;
  void plan(const std::string& output, const std::vector<std::string>& more = {}) const;
  Ended run_batch(const std::string& output, const std::vector<std::string>& more = {}, const ChildOptions& options = {}) const;
  nlohmann::json status(const std::string& output, const std::vector<std::string>& more = {}) const;

  /// Case -> state, as postrec batch status tells.
  std::map<std::string, std::string> states(const std::string& output) const;
  /// What the processes of a batch noted under this name.
  std::vector<nlohmann::json> events(const std::string& output, const std::string& name) const;

  /// Case -> digests of its images, for every folder with a done.json.
  std::map<std::string, nlohmann::json> digests(const std::string& output) const;
  /// Everything below the output folder but plan, results, events and key: what an attempt leaves.
  std::vector<std::string> leftovers(const std::string& output) const;
};

/// Starts the program in a process of its own and does not wait; what it prints goes nowhere.
int start_postrec(const std::vector<std::string>& arguments);
/// Waits for it: exit code, or 128 + signal.
int wait_for(int pid);

}  // namespace postrec
