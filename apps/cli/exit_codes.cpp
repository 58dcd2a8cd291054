#include "cli/exit_codes.hpp"

namespace postrec {

const std::vector<ExitCode>& exit_codes() {
  static const std::vector<ExitCode> codes = {
      {0, "done"},
      {1, "internal error: a defect of PostRec"},
      {8, "the batch is finished, and some of its cases failed"},
      {64, "usage: wrong command line"},
      {65, "bad data: a file or value that cannot be right"},
      {66, "no input: missing, or cannot be opened"},
      {69, "unavailable: plugin, prior or device refused or missing, or a plugin broke a law"},
      {70, "numerical failure: NaN, divergence"},
      {71, "out of memory"},
      {73, "cannot create the output: exists, no permission"},
      {74, "input/output: reading or writing failed half-way, disk full"},
      {75, "try again later"},
      {76, "PACS refused or unreachable"},
      {78, "configuration: a config file, manifest or operator parameter that cannot be right"},
      {130, "interrupted by Ctrl-C (SIGINT), 143 by SIGTERM: finished samples were kept"},
  };
  return codes;
}

std::string exit_code_meaning(int code) {
  for (const ExitCode& known : exit_codes())
    if (known.code == code) return known.meaning;
  return "unknown";
}

}  // namespace postrec
