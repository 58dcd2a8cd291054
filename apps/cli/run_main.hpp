#pragma once

#include <functional>
#include <string>
#include <vector>

namespace postrec {

/// What ended a run: the exit code, what went wrong, and what would be right (may be empty).
struct Failure {
  int code = 0;
  std::string message;
  std::string hint;
};

/// From now on `tell` hears of what ends the run, after the user has; an empty one ends that. What it throws is a warning.
void on_failure(std::function<void(const Failure&)> tell);

/// Calls body(arguments without the program's name) and turns what it throws into one line on stderr and the documented exit code.
/// The only place of the program that does so.
int run_main(int argc, char** argv, const std::function<int(const std::vector<std::string>&)>& body);

}  // namespace postrec
