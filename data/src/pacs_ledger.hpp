#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace postrec {

/// What arrived where, as JSON lines that are only ever appended: {"peer", "instance", "file", "status", "time"}. `instance` is SHA-256 of the SOPInstanceUID, `file` that of the file,
/// so the ledger holds no patient data. Locked while it is open. A last line that was cut by a crash is left out, its instance sent again.
class PacsLedger {
 public:
  /// Without `accept_warnings` what was answered with a warning has not arrived. Throws Error: kCannotCreate, kTemporary (another process has it), kBadData (a line that is not ours).
  PacsLedger(const std::filesystem::path& path, std::string peer, bool accept_warnings = true);
  ~PacsLedger();
  PacsLedger(const PacsLedger&) = delete;
  PacsLedger& operator=(const PacsLedger&) = delete;

  bool has(const std::string& instance, const std::string& file) const { return known_.count(instance + file) != 0; }

  /// Throws Error(kInputOutput).
  void add(const std::string& instance, const std::string& file, unsigned status);

  /// Throws Error(kInputOutput).
  void sync();

 private:
  void read();
  void append(const std::string& line);

  std::filesystem::path path_;
  std::string peer_;
  bool accept_warnings_;
  int fd_ = -1;
  std::set<std::string> known_;
};

}  // namespace postrec
