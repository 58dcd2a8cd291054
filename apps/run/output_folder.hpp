#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

enum class OnExisting { kFail, kOverwrite };

/// A result folder that appears whole or not at all. The files are written into a temporary folder beside the final name, which is made at
/// once, so that a wrong --output costs no computing time; commit() syncs and renames it. Without commit() it is removed again.
class OutputFolder {
 public:
  /// Throws Error: kUsage (empty name; the same place as an input), kCannotCreate (exists and may not be overwritten, no permission).
  /// An existing folder is only ever overwritten when it is empty or holds one of `marker_files`, that is, when it is ours.
  OutputFolder(std::filesystem::path final_path, OnExisting on_existing, const std::vector<std::filesystem::path>& inputs,
               const std::vector<std::string>& marker_files);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& folder() const { return temporary_; }
  const std::filesystem::path& final_path() const { return final_; }

  /// Throws Error(kInputOutput or kCannotCreate); what lay in its place still does, also what came there since the constructor and may not be overwritten.
  void commit();

 private:
  void remove_created_parents();

  std::filesystem::path final_;
  OnExisting on_existing_;
  std::vector<std::string> marker_files_;
  std::filesystem::path temporary_;
  std::vector<std::filesystem::path> created_parents_;  ///< outermost first; gone again when nothing is committed
  bool committed_ = false;
};

/// Throws Error(kUsage) when `output` is empty, is one of the inputs, lies inside one, or holds one.
void require_separate_output(const std::filesystem::path& output, const std::vector<std::filesystem::path>& inputs);

}  // namespace postrec
