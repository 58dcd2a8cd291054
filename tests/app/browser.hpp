#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace postrec {

/// A headless Chromium that a test drives through its debugging pipe: what a page says, asks for and shows.
/// [Chrome DevTools Protocol: Page, Runtime, Log, Network, Emulation]
class Browser {
 public:
  /// Whether there is one on the PATH.
  static bool available();

  /// `profile`: a folder of its own. Throws std::runtime_error when it does not start.
  explicit Browser(const std::filesystem::path& profile);
  ~Browser();
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  /// Loads a page to its end.
  void open(const std::filesystem::path& page);
  /// The value of a JavaScript expression. Throws std::runtime_error with the text of an exception.
  nlohmann::json evaluate(const std::string& expression);
  /// "screen" or "print"; "light" or "dark".
  void emulate(const std::string& medium, const std::string& scheme);

  /// What the console got since open(): errors, warnings, exceptions, breaches of the security policy.
  const std::vector<std::string>& complaints() const { return complaints_; }
  /// Addresses that were asked for since open(), without data: and without those that the page's own policy stopped.
  std::vector<std::string> requests() const;

 private:
  nlohmann::json command(const std::string& method, const nlohmann::json& parameters);
  nlohmann::json next_message();
  void notice(const nlohmann::json& event);

  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
  int last_id_ = 0;
  bool loaded_ = false;
  std::string session_;
  std::string unread_;
  std::vector<std::string> complaints_;
  std::map<std::string, std::string> requests_;  ///< by the browser's name for them
};

}  // namespace postrec
