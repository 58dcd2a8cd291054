#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/measurement.hpp"

namespace postrec {

/// What the user says about projections, besides the file that holds them.
struct ProjectionOptions {
  std::filesystem::path geometry_file = {};  ///< RTK's geometry (XML); empty: what measurement.json names, else the data are not a projection stack
  bool mid_plane = false;                    ///< of a cone beam, take the detector row in the plane of the source and leave out the others
  at::Tensor flux = {}, background = {};     ///< photon counts (PhotonCounts), in the layout of the stack: one number, [column], [row, column] or [projection, row, column]
  at::Tensor weights = {};                   ///< of the entries, in the same layouts
};

/// What measurement.json itself says of the image's geometry; the rest is that of the data file.
struct SaidOfImage {
  bool spacing = false, origin = false, direction = false;
};

/// A measurement, and what its reader found besides.
struct ReadMeasurement {
  Measurement measurement = {};
  at::Tensor weights = {};               ///< float32 like y: the variance of an entry is sigma_y^2 / weight; undefined: all alike
  std::string sigma_y_source = {};       ///< how sigma_y was found; empty: it is that of the file, or not known
  std::vector<std::string> notes = {};   ///< what the user should know, one sentence each, without patient data
  bool projections = false;              ///< a stack with RTK's geometry: ProjectionOptions::flux, background and weights were used
  double element_mm = 0.0;               ///< of other data: how far apart the numbers of a row lie in the file, of a sinogram its detector elements; 0: no file says so
  SaidOfImage said = {};
  bool around_isocentre = false;         ///< geometry.origin_mm is the isocentre of the first slice: place_around_isocentre() puts the image there
};

/// Reads a projection stack (.mha, .nii, .nii.gz, .nrrd: detector columns along x, detector rows along y, projections along z, spacing and origin in mm) whose geometry is an
/// RTK file (rtk_geometry.hpp), as a measurement of "ct-radon" [slice, view, detector] whose image is in HU:
/// a parallel beam with any number of rows, each a slice; or the mid-plane of a diverging one, as fan beam, when the detector has one row or `mid_plane` is set.
/// The image is by default as large as the detector sees it at the isocentre over a whole turn. Its axes are those of RTK: columns along x, rows along -z, slices along y.
/// Throws Error: kNoInput, kBadData (damaged, contradictory, or of a geometry that a 2-D projector does not have; each says which).
ReadMeasurement read_projection_stack(const std::filesystem::path& path, const ProjectionOptions& options);

/// Whether `path` is a folder of DICOM files that are no measurement folder: projections in DICOM-CT-PD, if anything that can be reconstructed.
bool is_dicom_projection_folder(const std::filesystem::path& path);

/// Reads an axial scan in DICOM-CT-PD [Chen 2015, Moen 2021]: a folder with one file a view, as a measurement of "ct-radon" with one slice, y [1, view, detector], image in HU.
/// Of several detector rows the one in the plane of the source is taken when `mid_plane` is set. The water attenuation of the files is made ours, so that HU come out
/// right; their photon statistics become weights. Helical scans and flying focal spots are refused.
/// Throws Error: kNoInput, kBadData. A file is named by its place in the order of names.
ReadMeasurement read_dicom_ct_pd(const std::filesystem::path& folder, const ProjectionOptions& options);

/// Whether a geometry file leaves this parameter to the user: height, width, pixel-mm.
bool is_image_parameter(const std::string& key);

/// Rows and columns of an image that is as wide as a detector of which the isocentre is the middle, so that a displaced one (by `offset_mm`) sees nothing beyond.
std::int64_t image_side(std::int64_t n_columns, double offset_mm, double column_mm);

/// Moves the image of `measurement` so that its middle lies where origin_mm was, by the parameters height, width and pixel-mm.
void place_around_isocentre(Measurement& measurement);

}  // namespace postrec
