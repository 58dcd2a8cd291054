#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <vector>

class DcmDataset;

namespace postrec {

/// Whether a data set says what only a projection has: its detector's columns, or the angle of its focal centre.
bool holds_projection(DcmDataset& dataset);

/// What one file of DICOM-CT-PD says of its projection; nothing of groups 0008 and 0010 but a UID. Plain data, because a child process fills it in shared memory.
struct CtPdHeader {
  bool was_read = false;
  char problem[160] = {};            ///< why the file cannot be used; fixed texts only, never a value from the file
  char sop_instance_uid[65] = {};
  std::int64_t instance_number = 0;
  std::int64_t rows = 0, columns = 0;                                 ///< of the picture
  std::int64_t n_detector_rows = 0, n_detector_columns = 0;
  std::int64_t n_photon_statistics = 0;                               ///< numbers in PhotonStatistics; 0 without it
  double column_mm = 0.0, row_mm = 0.0;                               ///< DetectorElementTransverseSpacing, DetectorElementAxialSpacing
  double angle_rad = 0.0, axial_mm = 0.0, radial_mm = 0.0;            ///< of the detector's focal centre: phi_0, z_0, rho_0
  double focal_to_detector_mm = 0.0;                                  ///< ConstantRadialDistance d_0
  double central_element[2] = {};                                     ///< column and row that look at the isocentre, counted from 1
  double source_shift[3] = {};                                        ///< of the focal spot from the focal centre: angle in rad, axial and radial in mm
  double slope = 1.0, intercept = 0.0;
  double water_mu_per_mm = 0.0;                                       ///< WaterAttenuationCoefficient; 0 without it
  double diameter_mm = 0.0;                                           ///< DataCollectionDiameter; 0 without it
  char shape[17] = {}, flying_focal_spot[17] = {}, scan[17] = {}, beam[17] = {}, log_flag[17] = {}, patient_position[17] = {};
};

/// Reads the headers with DCMTK in a child process. A file that kills the child is marked so in `problem`.
std::vector<CtPdHeader> read_ct_pd_headers(const std::vector<std::filesystem::path>& files);

/// Values of one detector row, rescaled, and the photons of a ray that nothing absorbs.
struct CtPdRow {
  at::Tensor values;   ///< float32 [file, detector column]
  at::Tensor photons;  ///< float32 [file, detector column]; undefined when the files do not say them
};

/// Detector row `row` (from 0) of files whose headers are sound and alike. Throws Error(kBadData) with the place of the file in `files`.
CtPdRow read_ct_pd_row(const std::vector<std::filesystem::path>& files, const std::vector<CtPdHeader>& headers, std::int64_t row, const std::filesystem::path& folder);

}  // namespace postrec
