#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace postrec {

/// Parts of a report in HTML, made of what run.json holds.

/// " HU" or " a.u.", to stand behind a number.
std::string unit_suffix(const nlohmann::ordered_json& run);

/// The misfit of the data, whether the prior fits, coverage, regions, notes.
std::string findings_section(const nlohmann::ordered_json& run);

/// PSNR, SSIM and NRMSE where there is a truth; else nothing.
std::string quality_section(const nlohmann::ordered_json& run);

/// How the result came about, enough to tell two runs apart.
std::string provenance_section(const nlohmann::ordered_json& run, const std::string& input_name);

/// A paragraph for a methods section.
std::string citation_section(const nlohmann::ordered_json& run);

/// "The misfit of the data is as large as the noise says: 1.01 (1 is right)."
std::string misfit_sentence(double reduced_chi2);

/// Mean over the samples of a slice, NaN when a value is missing.
double mean_chi2(const nlohmann::ordered_json& slice);

}  // namespace postrec
