#include <iostream>

#include "commands/commands.hpp"
#include "common/nearest_name.hpp"
#include "common/version.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr const char* kExitCodes =
    R"(Exit codes of postrec (those of sysexits.h where it has one):
    0  done
    1  internal error: a defect of PostRec
   64  usage: wrong command line
   65  bad data: a file or value that cannot be right
   66  no input: missing, or cannot be opened
   69  unavailable: plugin, prior or device refused or missing, or a plugin broke a law
   70  numerical failure: NaN, divergence
   71  out of memory
   73  cannot create the output: exists, no permission
   74  input/output: reading or writing failed half-way, disk full
   75  try again later
   78  configuration: a config file, manifest or operator parameter that cannot be right
  130  interrupted by Ctrl-C (SIGINT), 143 by SIGTERM: finished samples were kept
Every error is one line on stderr: "postrec: error: what; what would be right".
)";

void print_overview() {
  std::cout << "Usage: postrec COMMAND ...\nPosterior sampling for medical image reconstruction.\n\nCommands:\n";
  for (const auto& command : commands()) {
    const std::string name = command.name;
    std::cout << "  " << name << std::string(13 - name.size(), ' ') << command.summary << "\n";
  }
  std::cout << "\npostrec COMMAND --help shows the options of a command, postrec --version the version.\n\nExample:\n"
               "  postrec reconstruct head.nii.gz --simulate --operator mri-fourier --noise 0.02 --output result\n\n"
            << version_text();
}

}  // namespace

int run_help(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.front() == "--help" || arguments.front() == "-h" || arguments.front() == "help") {
    print_overview();
    return 0;
  }
  const std::string& topic = arguments.front();
  if (topic == "exit-codes") {
    std::cout << kExitCodes;
    return 0;
  }
  std::vector<std::string> topics = {"exit-codes"};
  for (const auto& command : commands()) {
    if (topic == command.name) return command.run({"--help"});
    topics.emplace_back(command.name);
  }
  throw Error(ErrorKind::kUsage, "there is no help on '" + topic + "'", nearest_hint(topic, topics));
}

}  // namespace postrec
