#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace postrec {

/// What went wrong, as the exit code that the program ends with (the numbers follow sysexits.h where it has one).
enum class ErrorKind : int {
  kInternal = 1,        ///< a defect of PostRec
  kUsage = 64,          ///< wrong command line
  kBadData = 65,        ///< a file or value that cannot be right
  kNoInput = 66,        ///< an input that does not exist or cannot be opened
  kUnavailable = 69,    ///< plugin, model or device refused or missing
  kNumerical = 70,      ///< NaN, divergence, a solver that does not converge
  kOutOfMemory = 71,
  kCannotCreate = 73,   ///< output that cannot be created
  kInputOutput = 74,    ///< reading or writing failed half-way, disk full
  kTemporary = 75,      ///< try again later
  kPacs = 76,           ///< PACS refused or unreachable
  kConfiguration = 78,  ///< a configuration or manifest that cannot be right
  kInterrupted = 130,   ///< stopped by the user after a clean stop
};

/// The one exception type that PostRec throws.
/// `message` names the value and the file, `hint` says what would be right; what() joins both on one line.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string hint = {})
      : std::runtime_error(hint.empty() ? message : message + "; " + hint), kind_(kind), message_(message), hint_(std::move(hint)) {}

  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string message_;
  std::string hint_;
};

}  // namespace postrec
