#include "commands/batch_plan_words.hpp"

#include <map>

#include "postrec/error.hpp"

namespace postrec {
namespace {

enum class Takes { kNothing, kOne, kMany };

const std::map<std::string, Takes> kOwn = {{"--participant-label", Takes::kMany}, {"--case", Takes::kMany}, {"--site-key", Takes::kOne},    {"--dry-run", Takes::kNothing}, {"--incomplete", Takes::kNothing},
                                           {"--quiet", Takes::kNothing},          {"-q", Takes::kNothing},  {"--log-format", Takes::kOne}, {"--help", Takes::kNothing},
                                           {"-h", Takes::kNothing},               {"--seed", Takes::kOne}};

bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

void refuse_what_a_batch_sets(const std::string& name) {
  const std::map<std::string, std::string> kWhy = {{"--output", "results go to OUT/CASE"},
                                                   {"--on-existing", "it is an option of postrec batch run"},
                                                   {"--resume", "postrec batch run always goes on from where it was"},
                                                   {"--threads", "give --jobs to postrec batch run: the cores are shared among the jobs"}};
  if (const auto found = kWhy.find(name); found != kWhy.end()) throw Error(ErrorKind::kUsage, name + " is not for postrec batch plan", found->second);
}

}  // namespace

PlanWords part_plan_words(const std::vector<std::string>& arguments) {
  PlanWords words;
  std::size_t i = 0;
  while (i < arguments.size() && !is_option(arguments[i])) words.own.push_back(arguments[i++]);
  while (i < arguments.size()) {
    std::string word = arguments[i++];
    const std::string kAlias = "--participant_label";
    if (word.rfind(kAlias, 0) == 0) word.replace(0, kAlias.size(), "--participant-label");
    const auto equals = word.find('=');
    const std::string name = word.substr(0, equals);
    refuse_what_a_batch_sets(name);
    const auto own = kOwn.find(name);
    auto& taker = own == kOwn.end() ? words.reconstruct : name == "--seed" ? words.seed : words.own;
    taker.push_back(word);
    if (own == kOwn.end() || own->second == Takes::kNothing || equals != std::string::npos) continue;
    const std::size_t most = own->second == Takes::kOne ? 1 : arguments.size();
    for (std::size_t n = 0; n < most && i < arguments.size() && !is_option(arguments[i]); ++n) taker.push_back(arguments[i++]);
  }
  return words;
}

}  // namespace postrec
