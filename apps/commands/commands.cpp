#include "commands/commands.hpp"

#include <utility>

namespace postrec {
namespace {

std::vector<std::string>& stored_words() {
  static std::vector<std::string> words;
  return words;
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"reconstruct", "posterior samples, mean and uncertainty of a measurement", run_reconstruct},
      {"batch", "many cases: plan, run, status, report, submit", run_batch_command, {"plan", "run", "status", "report", "submit"}},
      {"simulate", "compute a measurement from an image", run_simulate},
      {"train", "fit a prior to scans", run_train},
      {"sample", "draw images from a prior", run_sample},
      {"likelihood", "how likely a prior finds images, in bits per dimension", run_likelihood},
      {"evaluate", "compare a result with the true image", run_evaluate},
      {"calibrate", "whether the uncertainty of a sampler can be trusted", run_calibrate},
      {"pacs", "send to, fetch from, or receive from a DICOM archive", run_pacs, {"send", "get", "listen"}},
      {"plugins", "list, describe or check operator plugins", run_plugins},
      {"help", "help COMMAND, help exit-codes, help --man, help --completion bash", run_help},
  };
  return all;
}

const std::vector<std::string>& typed_command() { return stored_words(); }
void set_typed_command(std::vector<std::string> words) { stored_words() = std::move(words); }

}  // namespace postrec
