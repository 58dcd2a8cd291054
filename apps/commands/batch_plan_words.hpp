#pragma once

#include <string>
#include <vector>

namespace postrec {

/// The words after `postrec batch plan`, parted: what is for the plan itself, and what is kept for each `postrec reconstruct`.
struct PlanWords {
  std::vector<std::string> own;                ///< IN OUT, --case, --participant-label, --site-key, --dry-run, --incomplete, --quiet, --log-format, --help
  std::vector<std::string> reconstruct;        ///< everything else, as typed, but for the seed
  std::vector<std::string> seed;               ///< "--seed", "7"; each case gets one of its own
};

/// Names of the plan come first, as BIDS Apps have them; --participant_label is --participant-label. Throws Error(kUsage) for options of reconstruct that a batch sets itself.
PlanWords part_plan_words(const std::vector<std::string>& arguments);

}  // namespace postrec
