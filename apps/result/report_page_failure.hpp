#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/run_main.hpp"

namespace postrec {

/// Where the page of a case that failed goes: OUTPUT.failed.html beside what would have been the result folder, because a failed case has none.
std::filesystem::path failure_page_of(const std::filesystem::path& output);

/// Says why there is no result: the error in words, what would be right, the exit code. `inputs`: all that was read, the case first; their names as in report_page_names.hpp.
std::string failure_page(const std::vector<std::filesystem::path>& inputs, const Failure& failure);

/// Writes it, in the place of an older one. Not after a wrong command line nor an interruption, which are no failures of the case, and not where
/// the output could not be written (73, 74). Throws Error: kCannotCreate (a file of that name is not ours), kInputOutput.
void write_failure_page(const std::filesystem::path& page, const std::vector<std::filesystem::path>& inputs, const Failure& failure);

/// Once the case has a result: removes the page of an earlier attempt. Leaves alone what is not ours.
void remove_failure_page(const std::filesystem::path& page);

}  // namespace postrec
