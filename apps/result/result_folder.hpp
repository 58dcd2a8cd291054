#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "result/dicom_output.hpp"
#include "result/questions.hpp"
#include "result/reconstruct_case.hpp"

namespace postrec {

/// Writes a finished case into an existing folder: the volumes, the pictures, report.txt, report.html and, last, run.json.
/// `command` is what the user typed. Returns what run.json holds. The files are listed in apps/README.md.
///
/// Where the prior does not fit a slice (prior_fit.hpp), how uncertain it is there is withheld unless questions.force: standard deviation and
/// probability are -1 and the interval is empty (lower 1, upper -1) in that slice, or the files are not written where no slice fits; regions that reach into it
/// have a mean alone; a warning gives the reason. With `dicom` mean and uncertainty are also written as DICOM objects (dicom_output.hpp).
nlohmann::ordered_json write_result(const std::filesystem::path& folder, const std::vector<std::string>& command, const Case& input, const CaseResult& result,
                                    Session& session, const Questions& questions = {}, const DicomOutput* dicom = nullptr);

/// The slices that the prior does not fit, with the reason of the first and what follows from it; empty when it fits all. `prior_fit` is that of run.json.
std::string distrust_text(const nlohmann::ordered_json& prior_fit);

/// Whether a run.json says that the uncertainty of some slice was withheld.
bool uncertainty_withheld(const nlohmann::ordered_json& run);

/// Whether the result in a folder is what an interrupted run left; nothing when there is no result.
std::optional<bool> is_interrupted_result(const std::filesystem::path& folder);

/// What every run.json begins with: program and versions, when, and what the user typed.
nlohmann::ordered_json run_header(const std::vector<std::string>& command);

/// Which prior it was.
nlohmann::ordered_json prior_json(const PriorInfo& prior);

/// What was asked of the sampler.
nlohmann::ordered_json sampler_json(const SamplerOptions& options);

/// Samples [sample, slice, C, H, W], as stored: samples.nii.gz and sample_1.nii.gz; of colour images a sample_K.nii.gz each.
void write_samples(const std::filesystem::path& folder, const at::Tensor& samples, const ImageGeometry& geometry, IntensityUnit unit);

/// The result in a few lines for people: origin, where the noise comes from, quality, notes.
std::string report_text(const nlohmann::ordered_json& run);

}  // namespace postrec
