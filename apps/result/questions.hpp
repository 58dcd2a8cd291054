#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "case/case.hpp"
#include "options/options.hpp"
#include "postrec/host/plugin_registry.hpp"

namespace postrec {

/// A named part of the image.
struct Region {
  std::string name;
  std::filesystem::path file;
  at::Tensor mask;                             ///< boolean [slice of the case, C, H, W]
};

/// What the user wants to know beyond the maps of mean and uncertainty.
struct Questions {
  std::vector<Region> regions;
  std::vector<double> thresholds;              ///< as stored: HU for CT
  bool of_magnitudes = false;                  ///< of complex images: noise alone has a mean
  bool force = false;                          ///< say how uncertain it is even where the prior does not fit
};

/// --region, --threshold, --force.
void add_question_options(CommandOptions& options);

/// What they say. A mask is an image file on the grid of the result, above 0.5 inside; it has the slices of the case, or all of the scan.
/// Throws Error: kUsage (not NAME=FILE, a name twice, an empty region, a threshold that is no number), kBadData (another grid), and what read_scan throws.
Questions read_questions(const CommandOptions& options, const Case& input, PluginRegistry& registry);

/// "100", "-0.5": as the user would write it.
std::string threshold_text(double threshold);

/// For each region: voxels, mean, standard deviation, credible interval of probability `level` and the probability to lie above each threshold; with the
/// truth, its mean; of magnitudes, the voxels without signal (answers.hpp). samples [n, slice, C, H, W] as stored, truth [slice, C, H, W] or undefined. A region that reaches into slices which were not
/// finished has a null mean; one that reaches into slices which are not `trusted` has a mean alone.
nlohmann::ordered_json region_answers(const Questions& questions, const at::Tensor& samples, const at::Tensor& truth, double level, const std::vector<bool>& trusted);

/// What to tell the user of one of these answers when many of its voxels show no signal; otherwise empty.
std::string empty_region_text(const nlohmann::ordered_json& region);

/// The same in lines for people.
std::string region_text(const nlohmann::ordered_json& regions);

}  // namespace postrec
