#pragma once

#include <string>
#include <vector>

namespace postrec {

/// An exit code of the program and what it means, in a few words.
struct ExitCode {
  int code = 0;
  std::string meaning;
};

/// All that are documented, in ascending order.
const std::vector<ExitCode>& exit_codes();

/// "cannot create the output: exists, no permission"; of a code that is not documented "unknown".
std::string exit_code_meaning(int code);

}  // namespace postrec
