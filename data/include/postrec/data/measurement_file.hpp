#pragma once

#include <filesystem>

#include "postrec/measurement.hpp"

namespace postrec {

/// A measurement folder: measurement.json (operator, parameters, sigma_y, acquired or simulated, image geometry) beside the
/// data: kspace.cfl/.hdr for complex data, sinogram.nii.gz (or another real image file) for real data, and a file for each tensor parameter.
/// `path` is the folder, its measurement.json, or bare data (.cfl, .hdr, .nii, .nii.gz, .mha, .nrrd): then operator_name is empty,
/// the origin is kAcquired and sigma_y is 0. Throws Error: kNoInput, kBadData.
Measurement read_measurement(const std::filesystem::path& path);

/// Creates the folder. measurement.json is written last, so that a folder without it is known to be incomplete.
/// Throws Error: kCannotCreate (also when the folder exists and is not empty), kInputOutput.
void write_measurement(const std::filesystem::path& folder, const Measurement& measurement);

}  // namespace postrec
