// An axial scan in DICOM-CT-PD as a measurement of "ct-radon".
//
// The format measures angles from the y axis (up) against the clock, in a frame whose x axis points right for one who faces the gantry: the source is at
// rho_0 (-sin phi_0, cos phi_0), and detector columns run along (cos phi_0, sin phi_0). So our angle is -phi_0, and the columns keep their order.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "dicom_ct_pd.hpp"
#include "dicom_scan.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/ct_projections.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kImageSize = 512;
constexpr double kStillMm = 0.05;          // of the table, and of the focal spot around its centre: far below a detector row
constexpr double kAlike = 1e-4;            // relative, of lengths that all views share
constexpr double kLeastWater = 0.012, kMostWater = 0.035;  // 1/mm, from 35 to 400 keV: another number is in another unit

struct Projections {
  fs::path folder;
  std::vector<fs::path> files;       ///< by name
  std::vector<CtPdHeader> headers;

  std::string name(std::size_t i) const { return "DICOM file " + std::to_string(i + 1) + " of " + quoted_path(folder) + " (by name)"; }
  const CtPdHeader& first() const { return headers.front(); }
};

[[noreturn]] void refuse_scan(const Projections& scan, const std::string& what, const std::string& hint) { throw Error(ErrorKind::kBadData, quoted_path(scan.folder) + " " + what, hint); }

void require_sound(const Projections& scan) {
  std::set<std::string> uids;
  for (std::size_t i = 0; i < scan.headers.size(); ++i) {
    const CtPdHeader& header = scan.headers[i];
    if (header.problem[0] != '\0') throw Error(ErrorKind::kBadData, scan.name(i) + ": " + header.problem, "give the folder of one axial scan in DICOM-CT-PD; images need --simulate");
    if (header.sop_instance_uid[0] != '\0' && !uids.insert(header.sop_instance_uid).second)
      throw Error(ErrorKind::kBadData, scan.name(i) + " has the SOPInstanceUID of another", "give each view once");
  }
}

void require_alike(const Projections& scan) {
  const CtPdHeader& first = scan.first();
  const auto far = [](double a, double b) { return std::abs(a - b) > kAlike * std::abs(b); };
  for (std::size_t i = 0; i < scan.headers.size(); ++i) {
    const CtPdHeader& h = scan.headers[i];
    const char* what = nullptr;
    if (h.n_detector_rows != first.n_detector_rows || h.n_detector_columns != first.n_detector_columns || h.rows != first.rows) what = "detector size";
    else if (far(h.column_mm, first.column_mm) || far(h.row_mm, first.row_mm) || std::strcmp(h.shape, first.shape) != 0) what = "detector";
    else if (far(h.radial_mm, first.radial_mm) || far(h.focal_to_detector_mm, first.focal_to_detector_mm)) what = "distance of the focal centre";
    else if (far(h.central_element[0], first.central_element[0]) || far(h.central_element[1], first.central_element[1])) what = "DetectorCentralElement";
    else if (h.n_photon_statistics != first.n_photon_statistics) what = "length of PhotonStatistics";
    else if (far(h.water_mu_per_mm, first.water_mu_per_mm)) what = "WaterAttenuationCoefficient";
    else if (std::strcmp(h.patient_position, first.patient_position) != 0) what = "PatientPosition";
    if (what) throw Error(ErrorKind::kBadData, scan.name(i) + " has another " + what + " than the first", "give the files of one scan; ct-radon has one geometry for all views");
  }
}

void require_axial(const Projections& scan) {
  const auto upper = [](const char* text) {
    std::string value = text;
    std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::toupper(c); });
    return value;
  };
  const auto [lowest, highest] = std::minmax_element(scan.headers.begin(), scan.headers.end(), [](const auto& a, const auto& b) { return a.axial_mm < b.axial_mm; });
  const double travel = highest->axial_mm - lowest->axial_mm;
  const std::string rebin = "slices are reconstructed in 2-D, from an axial scan; rebin it to fan beams first, one sinogram a slice, and give these as a measurement folder";
  for (const CtPdHeader& h : scan.headers) {
    const std::string mode = upper(h.flying_focal_spot);
    if (travel > kStillMm || upper(h.scan).find("HELIC") != std::string::npos || upper(h.scan).find("SPIRAL") != std::string::npos)
      refuse_scan(scan, "is a helical scan or several axial ones: the table moves by " + std::to_string(travel) + " mm", rebin);
    const bool shifted = std::abs(h.source_shift[0]) * h.radial_mm > kStillMm || std::abs(h.source_shift[1]) > kStillMm || std::abs(h.source_shift[2]) > kStillMm;
    if ((!mode.empty() && mode != "FFSNONE") || shifted) refuse_scan(scan, "has a flying focal spot", "the source must stay at the detector's focal centre; rebin the views to one focal spot first");
    if (upper(h.beam).find("PARALLEL") != std::string::npos) refuse_scan(scan, "has projections of a parallel beam", "give it as a sinogram with beam=parallel");
    if (upper(h.log_flag) == "NO") refuse_scan(scan, "holds intensities: its LogFlag is NO", "DICOM-CT-PD with line integrals is read; take the logarithm first");
  }
}

std::int64_t mid_plane_row(const Projections& scan, const ProjectionOptions& options, std::vector<std::string>& notes) {
  const std::int64_t n = scan.first().n_detector_rows;
  if (n > 1 && !options.mid_plane)
    refuse_scan(scan, "is a cone beam of " + std::to_string(n) + " detector rows", "slices are reconstructed in 2-D; --mid-plane reconstructs the slice in the plane of the source alone");
  const auto row = static_cast<std::int64_t>(std::ceil(scan.first().central_element[1] - 1.5));
  if (row < 0 || row >= n) refuse_scan(scan, "has a DetectorCentralElement outside of its detector rows", "rows are counted from 1 to NumberofDetectorRows");
  if (n > 1) notes.push_back("mid-plane slice only: detector row " + std::to_string(row + 1) + " of " + std::to_string(n) + " of a cone beam; the other rows are left out");
  return row;
}

std::string beam_of(const Projections& scan) {
  const std::string shape = scan.first().shape;
  if (shape == "FLAT") return "fan-flat";
  if (shape == "CYLINDRICAL" || shape == "SPHERICAL") return "fan-curved";  // a row of either is an arc about the focal centre
  refuse_scan(scan, shape.empty() ? "does not say its DetectorShape" : "has a DetectorShape that is not known", "it is CYLINDRICAL, SPHERICAL or FLAT");
}

/// Directions of the columns and rows of the image, seen from the front of the gantry, in the patient (LPS).
ImageGeometry geometry_of_patient(const std::string& position, std::vector<std::string>& notes) {
  static const std::map<std::string, std::array<double, 6>> kDirections = {
      {"HFS", {1, 0, 0, 0, 1, 0}},  {"HFP", {-1, 0, 0, 0, -1, 0}}, {"FFS", {-1, 0, 0, 0, 1, 0}}, {"FFP", {1, 0, 0, 0, -1, 0}},
      {"HFDR", {0, 1, 0, -1, 0, 0}}, {"HFDL", {0, -1, 0, 1, 0, 0}}, {"FFDR", {0, -1, 0, -1, 0, 0}}, {"FFDL", {0, 1, 0, 1, 0, 0}}};
  const auto found = kDirections.find(position);
  notes.push_back(found == kDirections.end() ? "the files do not say how the patient lay: the image is what one sees who faces the gantry, and left and right are not known"
                                             : "left and right follow from PatientPosition " + found->first + " and the angles of DICOM-CT-PD; this was not checked against a scanner's own image");
  const std::array<double, 6> d = found == kDirections.end() ? kDirections.at("HFS") : found->second;
  ImageGeometry geometry;
  const std::array<double, 3> normal = {d[1] * d[5] - d[2] * d[4], d[2] * d[3] - d[0] * d[5], d[0] * d[4] - d[1] * d[3]};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    geometry.direction[3 * axis] = d[axis];
    geometry.direction[3 * axis + 1] = d[3 + axis];
    geometry.direction[3 * axis + 2] = normal[axis];
  }
  return geometry;
}

void set_parameters(const Projections& scan, Measurement& measurement) {
  const CtPdHeader& h = scan.first();
  Parameters& parameters = measurement.parameters;
  std::vector<double> angles;
  for (const CtPdHeader& header : scan.headers) angles.push_back(-header.angle_rad);
  const double n = static_cast<double>(h.n_detector_columns);
  parameters.set("beam", beam_of(scan));
  parameters.set("angles-rad", angles);
  parameters.set("n-detectors", h.n_detector_columns);
  parameters.set("detector-spacing-mm", h.column_mm);
  parameters.set("detector-offset-mm", (0.5 * (n + 1.0) - h.central_element[0]) * h.column_mm);
  parameters.set("source-to-isocenter-mm", h.radial_mm);
  parameters.set("source-to-detector-mm", h.focal_to_detector_mm);
  if (h.focal_to_detector_mm < h.radial_mm) refuse_scan(scan, "has its detector before the isocentre", "ConstantRadialDistance is at least DetectorFocalCenterRadialDistance");
  const double half_fan = std::min(0.5 * n * h.column_mm / h.focal_to_detector_mm, 1.5);
  const double diameter = h.diameter_mm > 0.0 ? h.diameter_mm : 2.0 * h.radial_mm * std::sin(half_fan);
  parameters.set("height", kImageSize);
  parameters.set("width", kImageSize);
  parameters.set("pixel-mm", diameter / static_cast<double>(kImageSize));
}

/// Line integrals in which water has our attenuation, so that HU come out right, and how sure each of them is: its variance is that of counts exp(-l) I_0.
void set_values(const Projections& scan, CtPdRow row, ReadMeasurement& read) {
  double to_ours = 1.0;
  const double water = scan.first().water_mu_per_mm;
  if (water == 0.0) read.notes.push_back("the files do not say the attenuation of water: HU are those for 0.01929/mm");
  else if (water < kLeastWater || water > kMostWater) refuse_scan(scan, "has a WaterAttenuationCoefficient of " + std::to_string(water), "it is in 1/mm, about 0.02");
  else to_ours = kWaterMuPerMm / water;
  read.measurement.y = (row.values * to_ours).unsqueeze(0);
  if (!row.photons.defined()) return;
  if (!(row.photons.min().item<double>() >= 0.0) || !(row.photons.max().item<double>() > 0.0)) refuse_scan(scan, "has PhotonStatistics that are no numbers of photons", "0 and above, not all 0");
  read.weights = (row.photons * (-row.values).exp() / (to_ours * to_ours)).unsqueeze(0);
  read.measurement.sigma_y = 1.0;
  read.sigma_y_source = "photon statistics of the files";
}

}  // namespace

bool is_dicom_projection_folder(const fs::path& path) {
  if (!fs::is_directory(path) || fs::exists(path / "measurement.json")) return false;
  const fs::directory_iterator entries(path);
  return std::any_of(fs::begin(entries), fs::end(entries), [](const auto& entry) { return entry.is_regular_file() && has_dicom_mark(entry.path()); });
}

ReadMeasurement read_dicom_ct_pd(const fs::path& folder, const ProjectionOptions& options) {
  if (!options.geometry_file.empty()) throw Error(ErrorKind::kUsage, "a geometry file is given with " + quoted_path(folder) + ", which holds DICOM files", "DICOM-CT-PD says its geometry itself; leave it out");
  if (options.flux.defined() || options.background.defined())
    throw Error(ErrorKind::kUsage, "photons are given with " + quoted_path(folder) + ", which holds DICOM files", "DICOM-CT-PD holds line integrals and says its photons itself; leave them out");
  ReadMeasurement read;
  Projections scan{folder, dicom_files_in(folder, read.notes), {}};
  if (scan.files.empty()) throw Error(ErrorKind::kNoInput, quoted_path(folder) + " holds no DICOM file", "give the folder of one axial scan in DICOM-CT-PD");
  scan.headers = read_ct_pd_headers(scan.files);
  require_sound(scan);
  require_axial(scan);
  require_alike(scan);
  if (const auto n = scan.first().n_photon_statistics; n > 1 && n != scan.first().n_detector_columns)
    refuse_scan(scan, "has " + std::to_string(n) + " PhotonStatistics for " + std::to_string(scan.first().n_detector_columns) + " detector columns", "one for each column, or one for all");

  const std::int64_t row = mid_plane_row(scan, options, read.notes);
  Measurement& measurement = read.measurement;
  measurement.operator_name = "ct-radon";
  measurement.unit = IntensityUnit::kHounsfield;
  measurement.geometry = geometry_of_patient(scan.first().patient_position, read.notes);
  measurement.geometry.spacing_mm[2] = scan.first().row_mm * scan.first().radial_mm / scan.first().focal_to_detector_mm;
  set_parameters(scan, measurement);
  set_values(scan, read_ct_pd_row(scan.files, scan.headers, row, folder), read);
  if (scan.first().axial_mm != 0.0)
    read.notes.push_back("the slice is placed at z = 0: how the axial position in the files, " + std::to_string(scan.first().axial_mm) + " mm, lies to those of images is not known");
  read.around_isocentre = true;
  return read;
}

}  // namespace postrec
