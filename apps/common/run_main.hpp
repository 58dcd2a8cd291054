#pragma once

#include <functional>
#include <string>
#include <vector>

namespace postrec {

/// Calls body(arguments without the program's name) and turns what it throws into one line on stderr and the documented exit code.
/// The only place of the program that does so.
int run_main(int argc, char** argv, const std::function<int(const std::vector<std::string>&)>& body);

}  // namespace postrec
