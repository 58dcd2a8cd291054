// Projection stacks with an RTK geometry, as measurements of "ct-radon". The two conventions are the same where both can say a thing: operators/ct_radon/README.md has ours.
#include "postrec/data/ct_projections.hpp"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <sstream>

#include "input_file.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/error.hpp"
#include "rtk_geometry.hpp"

namespace postrec {

namespace {

constexpr double kSameAngle = 1e-4;         // degrees
constexpr double kSameLength = 1e-4;        // of a length, and of a detector column: what a moving gantry does not keep anyway
constexpr double kSquare = 1e-4;            // of a direction cosine

std::string number_text(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::kBadData, quoted_path(path) + " " + what, hint);
}

/// Values as RTK stores them, and where they lie on the detector.
struct Stack {
  at::Tensor values;                 ///< [projection, row, column]
  double column_mm, row_mm;          ///< from one to the next
  double first_column_mm, first_row_mm;
  std::int64_t n_projections() const { return values.size(0); }
  std::int64_t n_rows() const { return values.size(1); }
  std::int64_t n_columns() const { return values.size(2); }
};

Stack read_stack(const std::filesystem::path& path) {
  const FileFormat format = format_of(path);
  if (format != FileFormat::kNifti && format != FileFormat::kNrrd && format != FileFormat::kMetaImage)
    refuse(path, "is not a projection stack", "projections with a geometry file are .mha, .mhd, .nii, .nii.gz or .nrrd");
  const Scan scan = read_scan(path);
  const ImageGeometry& geometry = scan.image.geometry;
  if (scan.image.pixels.size(1) != 1) refuse(path, "is in colour", "a projection has one value a pixel");
  static constexpr std::array<double, 9> kIdentity = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  for (std::size_t i = 0; i < 9; ++i)
    if (std::abs(geometry.direction[i] - kIdentity[i]) > kSquare)
      refuse(path, "has turned or mirrored axes", "its direction must be the identity in ITK (LPS), as RTK writes projections; the geometry file turns the detector");
  return {scan.image.pixels.squeeze(1), geometry.spacing_mm[0], geometry.spacing_mm[1], geometry.origin_mm[0], geometry.origin_mm[1]};
}

/// What one sentence of ct-radon says of all projections.
class CommonGeometry {
 public:
  CommonGeometry(const RtkGeometry& geometry, const std::filesystem::path& path) : geometry_(geometry), path_(path) {}

  /// A value that must be the same in all projections, up to `tolerance`.
  double common(double RtkProjection::* member, double tolerance, const std::string& name) const {
    const double value = geometry_.projections.front().*member;
    for (std::size_t i = 0; i < geometry_.projections.size(); ++i)
      if (const double other = geometry_.projections[i].*member; std::abs(other - value) > tolerance)
        refuse(path_, "has another " + name + " in projection " + std::to_string(i + 1) + " (" + number_text(other) + ") than in the first (" + number_text(value) + ")",
               "ct-radon has one for all views; correct the projections for it first");
    return value;
  }

  void require_zero(double RtkProjection::* member, double tolerance, double period, const std::string& name) const {
    for (std::size_t i = 0; i < geometry_.projections.size(); ++i) {
      const double value = geometry_.projections[i].*member;
      if (std::abs(period > 0 ? std::remainder(value, period) : value) > tolerance)
        refuse(path_, "has " + name + " " + number_text(value) + " in projection " + std::to_string(i + 1), "ct-radon has an untilted detector opposite to its source; " + name + " must be 0");
    }
  }

 private:
  const RtkGeometry& geometry_;
  const std::filesystem::path& path_;
};

/// "Spins" of RTK: the angle of a view is the gantry angle itself.
std::vector<double> angles_rad(const RtkGeometry& geometry) {
  std::vector<double> angles;
  for (const RtkProjection& projection : geometry.projections) angles.push_back(std::remainder(projection.gantry_angle, 360.0) * std::numbers::pi / 180.0);
  return angles;
}

/// Sets the parameters of the beam and returns the magnification at the detector.
double set_beam(const RtkGeometry& geometry, const CommonGeometry& common, const std::filesystem::path& path, double column_mm, Parameters& parameters) {
  const double detector = common.common(&RtkProjection::source_to_detector, kSameLength * std::abs(geometry.projections.front().source_to_detector), "SourceToDetectorDistance");
  const double radius = geometry.cylinder_radius;
  common.require_zero(&RtkProjection::in_plane_angle, kSameAngle, 360.0, "InPlaneAngle");
  common.require_zero(&RtkProjection::out_of_plane_angle, kSameAngle, 360.0, "OutOfPlaneAngle");
  if (detector == 0.0) {
    if (radius != 0.0) refuse(path, "has a cylindrical detector in a parallel beam", "take RadiusCylindricalDetector out");
    parameters.set("beam", std::string("parallel"));
    return 1.0;  // source offsets have no effect: the rays are normal to the detector
  }
  const double isocentre = common.common(&RtkProjection::source_to_isocenter, kSameLength * std::abs(geometry.projections.front().source_to_isocenter), "SourceToIsocenterDistance");
  if (!(isocentre > 0.0)) refuse(path, "has SourceToIsocenterDistance " + number_text(isocentre), "it is above 0 mm");
  if (!(detector >= isocentre)) refuse(path, "has SourceToDetectorDistance " + number_text(detector) + ", less than SourceToIsocenterDistance, " + number_text(isocentre), "the isocentre lies between source and detector");
  common.require_zero(&RtkProjection::source_offset_x, kSameLength * column_mm, 0.0, "SourceOffsetX");
  common.require_zero(&RtkProjection::source_offset_y, kSameLength * column_mm, 0.0, "SourceOffsetY");
  if (radius != 0.0 && std::abs(radius - detector) > kSameLength * detector)
    refuse(path, "has RadiusCylindricalDetector " + number_text(radius) + " and SourceToDetectorDistance " + number_text(detector), "ct-radon has detectors that are flat, or bent about the source: then both are the same");
  parameters.set("beam", std::string(radius == 0.0 ? "fan-flat" : "fan-curved"));
  parameters.set("source-to-isocenter-mm", isocentre);
  parameters.set("source-to-detector-mm", detector);
  return detector / isocentre;
}

/// The row that the plane of the source crosses: v = (index - row) row_mm.
std::int64_t mid_plane_row(const Stack& stack, double offset_mm, const std::filesystem::path& path) {
  const double row = -(stack.first_row_mm + offset_mm) / stack.row_mm;
  const std::int64_t nearest = std::llround(std::ceil(row - 0.5));
  if (nearest < 0 || nearest >= stack.n_rows())
    refuse(path, "has no detector row in the plane of the source: that plane crosses row " + number_text(row + 1) + " of " + std::to_string(stack.n_rows()),
           "origin along y and ProjectionOffsetY say where the rows are");
  return nearest;
}

/// Turns the axes of a stack, [projection, row, column] or such with one projection for all, into those of y [slice, view, detector].
using Layout = std::function<at::Tensor(const at::Tensor&)>;

/// `values` of the user in the layout of y.
at::Tensor laid_out(at::Tensor values, const Stack& stack, const Layout& layout, const std::string& name) {
  if (!values.defined()) return at::zeros({1});  // no background
  if (values.numel() == 1) return values.reshape({1});
  if (values.dim() == 4 && values.size(1) == 1) values = values.squeeze(1);
  const std::int64_t n = stack.n_projections(), rows = stack.n_rows(), columns = stack.n_columns();
  if (values.numel() == columns) return values.reshape({columns});
  if (values.dim() == 2 && values.size(0) == rows) values = values.unsqueeze(0);
  if (values.dim() == 2 && rows == 1) values = values.unsqueeze(1);  // projections of one row as a flat picture
  const bool fits = values.dim() == 3 && (values.size(0) == 1 || values.size(0) == n) && values.size(1) == rows && values.size(2) == columns;
  if (!fits) {
    std::ostringstream sizes;
    sizes << values.sizes();
    throw Error(ErrorKind::kBadData, "the " + name + " has sizes " + sizes.str() + " (projections, rows, columns)",
                "the stack has [" + std::to_string(n) + ", " + std::to_string(rows) + ", " + std::to_string(columns) + "]: give one number, a row, one projection, or all of them");
  }
  return layout(values.expand({n, rows, columns}));
}

std::string beam_note(const Parameters& parameters, std::int64_t n_views) {
  return "geometry: " + parameters.text("beam") + ", " + std::to_string(n_views) + " views; the middle of the detector lies " + number_text(parameters.real("detector-offset-mm")) + " mm from the central ray";
}

/// A detector that begins exactly at the central ray is one whose file was written without an origin.
void require_origin(const Stack& stack, double offset_mm, const std::filesystem::path& path) {
  if (stack.n_columns() == 1 || stack.first_column_mm != 0.0 || offset_mm != 0.0) return;
  const double centred = -0.5 * static_cast<double>(stack.n_columns() - 1) * stack.column_mm;
  refuse(path, "has its origin along x at 0, so that its first detector column would lie at the central ray", "RTK writes where that column lies: " + number_text(centred) + " mm of a centred detector (ProjectionOffsetX may say so, too)");
}

}  // namespace

ReadMeasurement read_projection_stack(const std::filesystem::path& path, const ProjectionOptions& options) {
  const RtkGeometry geometry = read_rtk_geometry(options.geometry_file);
  const Stack stack = read_stack(path);
  if (static_cast<std::int64_t>(geometry.projections.size()) != stack.n_projections())
    refuse(options.geometry_file, "has " + std::to_string(geometry.projections.size()) + " projections, " + quoted_path(path) + " has " + std::to_string(stack.n_projections()),
           "the geometry of just this stack, with one <Projection> for each step along z");

  ReadMeasurement read;
  read.projections = true;
  read.around_isocentre = true;
  Measurement& measurement = read.measurement;
  measurement.operator_name = "ct-radon";
  measurement.unit = IntensityUnit::kHounsfield;
  Parameters& parameters = measurement.parameters;
  const CommonGeometry common(geometry, options.geometry_file);
  const double magnification = set_beam(geometry, common, options.geometry_file, stack.column_mm, parameters);
  const double offset_x = common.common(&RtkProjection::projection_offset_x, kSameLength * stack.column_mm, "ProjectionOffsetX");
  const double offset_y = common.common(&RtkProjection::projection_offset_y, kSameLength * stack.row_mm, "ProjectionOffsetY");
  require_origin(stack, offset_x, path);
  const bool parallel = parameters.text("beam") == "parallel";

  const double middle = 0.5 * static_cast<double>(stack.n_columns() - 1);
  parameters.set("angles-rad", angles_rad(geometry));
  parameters.set("n-detectors", stack.n_columns());
  parameters.set("detector-spacing-mm", stack.column_mm);
  parameters.set("detector-offset-mm", stack.first_column_mm + middle * stack.column_mm + offset_x);
  parameters.set("pixel-mm", stack.column_mm / magnification);
  for (const char* key : {"height", "width"}) parameters.set(key, image_side(stack.n_columns(), parameters.real("detector-offset-mm"), stack.column_mm));

  // Columns along x, rows along -z, slices along y.
  ImageGeometry& image = measurement.geometry;
  image.direction = {1, 0, 0, 0, 0, 1, 0, -1, 0};
  image.spacing_mm[2] = stack.row_mm / magnification;
  Layout layout;
  read.notes.push_back(beam_note(parameters, stack.n_projections()));
  if (parallel) {
    image.origin_mm[1] = stack.first_row_mm + offset_y;
    layout = [](const at::Tensor& values) { return values.permute({1, 0, 2}).contiguous(); };
  } else {
    if (stack.n_rows() > 1 && !options.mid_plane)
      refuse(path, "is a cone beam: " + std::to_string(stack.n_rows()) + " detector rows and a source at a finite distance", "slices are reconstructed in 2-D; --mid-plane reconstructs the slice in the plane of the source alone");
    const std::int64_t row = mid_plane_row(stack, offset_y, options.geometry_file);
    layout = [row](const at::Tensor& values) { return values.select(1, row).unsqueeze(0).contiguous(); };
    if (stack.n_rows() > 1) read.notes.push_back("mid-plane slice only: detector row " + std::to_string(row + 1) + " of " + std::to_string(stack.n_rows()) + " of a cone beam; the other rows are left out");
  }
  measurement.y = layout(stack.values);
  if (options.background.defined() && !options.flux.defined()) throw Error(ErrorKind::kBadData, "a background of photons is given without their flux", "say the photons without an object, too");
  if (options.flux.defined()) measurement.counts = PhotonCounts{laid_out(options.flux, stack, layout, "flux"), laid_out(options.background, stack, layout, "background")};
  if (options.weights.defined()) read.weights = laid_out(options.weights, stack, layout, "weights").expand(measurement.y.sizes()).contiguous();
  return read;
}

bool is_image_parameter(const std::string& key) { return key == "height" || key == "width" || key == "pixel-mm"; }

std::int64_t image_side(std::int64_t n_columns, double offset_mm, double column_mm) { return n_columns + 2 * static_cast<std::int64_t>(std::abs(offset_mm) / column_mm); }

void place_around_isocentre(Measurement& measurement) {
  const Parameters& parameters = measurement.parameters;
  const double pixel = parameters.real("pixel-mm");
  ImageGeometry& geometry = measurement.geometry;
  geometry.spacing_mm[0] = geometry.spacing_mm[1] = pixel;
  const double right = 0.5 * static_cast<double>(parameters.integer("width") - 1) * pixel, down = 0.5 * static_cast<double>(parameters.integer("height") - 1) * pixel;
  for (std::size_t axis = 0; axis < 3; ++axis) geometry.origin_mm[axis] -= right * geometry.direction[3 * axis] + down * geometry.direction[3 * axis + 1];
}

}  // namespace postrec
