#pragma once

#include <filesystem>

#include "postrec/data/ct_projections.hpp"
#include "postrec/measurement.hpp"

namespace postrec {

/// A measurement folder: measurement.json (operator, parameters, sigma_y, acquired or simulated, image geometry) beside the
/// data: kspace.cfl/.hdr for complex data, data.mha (of others: any real image file) for real data, and a file for each tensor parameter.
/// `path` is the folder, its measurement.json, or bare data (.cfl, .hdr, .nii, .nii.gz, .mha, .nrrd): then operator_name is empty,
/// the origin is kAcquired and sigma_y is 0. K-space is mapped (cfl.hpp); with a folder `scratch` real data
/// lie in a file there (scratch_tensor.hpp). Throws Error: kNoInput, kBadData, kInputOutput.
Measurement read_measurement(const std::filesystem::path& path, const std::filesystem::path& scratch = {});

/// The same with what the user says about projections, and of a folder of DICOM-CT-PD files. Where measurement.json names a "geometry_file", or bare data come with
/// options.geometry_file, the data are read as read_projection_stack() does; what `options` says goes before measurement.json.
ReadMeasurement read_acquisition(const std::filesystem::path& path, const ProjectionOptions& options, const std::filesystem::path& scratch = {});

/// Creates the folder. measurement.json is written last, so that a folder without it is known to be incomplete.
/// Throws Error: kCannotCreate (also when the folder exists and is not empty), kInputOutput.
void write_measurement(const std::filesystem::path& folder, const Measurement& measurement);

}  // namespace postrec
