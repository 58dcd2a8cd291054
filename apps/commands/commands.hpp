#pragma once

#include <string>
#include <vector>

namespace postrec {

/// One sub-command. Each gets the words after its name and returns the exit code, 0 when all went well; failures are thrown.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(const std::vector<std::string>& arguments);
  std::vector<const char*> words = {};         ///< first words that have options and a --help of their own: "run" of batch
};

int run_reconstruct(const std::vector<std::string>& arguments);
int run_batch_command(const std::vector<std::string>& arguments);
int run_simulate(const std::vector<std::string>& arguments);
int run_train(const std::vector<std::string>& arguments);
int run_sample(const std::vector<std::string>& arguments);
int run_likelihood(const std::vector<std::string>& arguments);
int run_evaluate(const std::vector<std::string>& arguments);
int run_calibrate(const std::vector<std::string>& arguments);
int run_pacs(const std::vector<std::string>& arguments);
int run_plugins(const std::vector<std::string>& arguments);
int run_help(const std::vector<std::string>& arguments);

/// All of them, in the order of the help.
const std::vector<Command>& commands();

/// What the user typed, kept for run.json.
const std::vector<std::string>& typed_command();
void set_typed_command(std::vector<std::string> words);

}  // namespace postrec
