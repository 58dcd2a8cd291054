#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "case/case.hpp"
#include "options/options.hpp"
#include "postrec/data/derived_series.hpp"

namespace postrec {

/// How a result is to be written as DICOM, and the series that lends it patient, study and place.
struct DicomOutput {
  DicomSource source;
  std::int64_t first_slice = 0;                ///< where the case begins in the source
  bool parametric_maps = true;                 ///< of the uncertainty; else 16-bit image series
  bool from_source = false;                    ///< the source is the image that was simulated, and does not only lend its place
};

/// What goes into the DICOM folder of a result. Volumes are [slice, 1, H, W], as stored.
struct DicomMaps {
  at::Tensor mean;
  at::Tensor standard_deviation;
  std::vector<std::pair<double, at::Tensor>> probabilities;  ///< to exceed a threshold
  std::vector<bool> told;                      ///< slices whose uncertainty is told; the others are left out of its maps
};

/// --dicom, --dicom-source, --uncertainty-as.
void add_dicom_options(CommandOptions& options);

/// The folder or file that --dicom-source names, else the input of a simulation; empty when no DICOM is asked for.
/// Throws Error(kUsage) when there is no series to derive from. Quick: nothing is read but the first bytes.
std::filesystem::path dicom_source_path(const CommandOptions& options);

/// Reads the series at `source` and finds the case in it. Its warnings become notes of the case.
/// Throws Error: what read_dicom_source throws, kUsage (another grid, several channels, CT without HU).
DicomOutput dicom_output(const CommandOptions& options, const std::filesystem::path& source, Case& input, PluginRegistry& registry);

/// Writes folder/mean/0001.dcm and so on, and the uncertainty as folder/standard_deviation.dcm or a folder of that name. `run` is that of run.json
/// so far. Returns what run.json says of it.
nlohmann::ordered_json write_dicom(const std::filesystem::path& folder, const DicomOutput& output, const DicomMaps& maps, const nlohmann::ordered_json& run);

}  // namespace postrec
