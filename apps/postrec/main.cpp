#include <iostream>

#include "cli/run_main.hpp"
#include "cli/version.hpp"
#include "commands/commands.hpp"
#include "postrec/error.hpp"
#include "postrec/nearest_name.hpp"

namespace {

int run(const std::vector<std::string>& arguments) {
  using namespace postrec;
  if (arguments.empty()) throw Error(ErrorKind::kUsage, "no command is given", "see postrec help");
  const std::string& name = arguments.front();
  if (name == "--version") {
    std::cout << version_text();
    return 0;
  }
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (name == "--help" || name == "-h") return run_help({});
  std::vector<std::string> names;
  for (const auto& command : commands()) {
    if (name == command.name) return command.run(rest);
    names.emplace_back(command.name);
  }
  throw Error(ErrorKind::kUsage, "unknown command '" + name + "'", nearest_hint(name, names));
}

}  // namespace

int main(int argc, char** argv) {
  postrec::set_typed_command({argv, argv + argc});
  return postrec::run_main(argc, argv, run);
}
