// The checks of a DICOM series. GDCM and ITK do none of them: a missing slice stretches the spacing, a gantry tilt becomes a box.
#include "dicom_series.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <string_view>

#include "postrec/error.hpp"

namespace postrec {

namespace {

using Vector = std::array<double, 3>;

constexpr double kOrientationTolerance = 1e-4;  ///< of direction cosines
constexpr double kPositionTolerance_mm = 0.01;  ///< DICOM positions are decimals, often with two or three places
constexpr double kStepTolerance = 0.01;         ///< of the slice spacing
constexpr double kDriftTolerance = 0.1;         ///< of a pixel, over the whole stack

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vector cross(const Vector& a, const Vector& b) { return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]}; }
Vector plus(const Vector& a, double t, const Vector& b) { return {a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2]}; }
Vector position(const DicomHeader& h) { return {h.position_mm[0], h.position_mm[1], h.position_mm[2]}; }
Vector row_direction(const DicomHeader& h) { return {h.orientation[0], h.orientation[1], h.orientation[2]}; }
Vector column_direction(const DicomHeader& h) { return {h.orientation[3], h.orientation[4], h.orientation[5]}; }

std::string mm(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g mm", value);
  return text;
}

[[noreturn]] void refuse(const std::string& what, const std::string& hint) { throw Error(ErrorKind::kBadData, what, hint); }

void check_file(const DicomFile& file) {
  const DicomHeader& h = file.header;
  const auto wrong = [&](const std::string& what, const std::string& hint) { refuse(file.name + ": " + what, hint); };
  if (h.problem[0] != '\0') wrong(h.problem, "export the file again");
  const std::string_view photometric = h.photometric, modality = h.modality;
  // A screenshot or a mask may be wanted as the picture that it is; as CT or MR its values would pass for those of a scan.
  if (const std::string reason = modality == "CT" || modality == "MR" ? reason_to_leave_out(h) : ""; !reason.empty())
    wrong("it is " + reason, "CT and MR are read from the slices of a scan: give the series of these");
  if (h.frames != 1) wrong("it has " + std::to_string(h.frames) + " frames", "of multi-frame files the enhanced ones are read; export one file a slice");
  if (photometric != "MONOCHROME1" && photometric != "MONOCHROME2" && photometric != "RGB")
    wrong("its PhotometricInterpretation is not one that is read", "MONOCHROME1, MONOCHROME2 or RGB");
  if (photometric == "MONOCHROME1" && modality == "CT")
    wrong("it is a CT image in MONOCHROME1", "its decoder counts stored values down before they are rescaled, which turns Hounsfield units upside down; export it as MONOCHROME2");
  if (h.samples != (photometric == "RGB" ? 3 : 1))
    wrong("it has " + std::to_string(h.samples) + " samples a pixel", "1 for gray and 3 for RGB");
  if (h.rows < 1 || h.columns < 1) wrong("its Rows or Columns are missing", "export the file again");
  const std::set<std::int64_t> kBits = {8, 16, 32};
  if (!kBits.count(h.bits_allocated) || h.bits_stored < 1 || h.bits_stored > h.bits_allocated || h.high_bit != h.bits_stored - 1)
    wrong("its BitsAllocated, BitsStored and HighBit are " + std::to_string(h.bits_allocated) + ", " + std::to_string(h.bits_stored) +
              ", " + std::to_string(h.high_bit),
          "8, 16 or 32 allocated, stored within them from bit 0");
  const auto expected = static_cast<std::uint64_t>(h.rows * h.columns * h.samples * h.bits_allocated / 8);
  if (!h.compressed && h.pixel_bytes != expected + expected % 2)
    wrong("its PixelData has " + std::to_string(h.pixel_bytes) + " bytes",
          "Rows x Columns x samples x bits need " + std::to_string(expected));
  if (!h.has_orientation) return;
  const Vector row = row_direction(h), column = column_direction(h);
  if (std::abs(dot(row, row) - 1.0) > kOrientationTolerance || std::abs(dot(column, column) - 1.0) > kOrientationTolerance ||
      std::abs(dot(row, column)) > kOrientationTolerance)
    wrong("its ImageOrientationPatient is not two orthogonal unit vectors", "export the file again");
}

std::vector<DicomFile> pick_series(std::vector<DicomFile> files, const std::string& series_uid, const std::string& source) {
  std::set<std::string> uids;
  for (const auto& file : files) {
    // It may belong to the series that is read, which would then lack a slice.
    if (file.header.problem[0] != '\0' && file.header.series_uid[0] == '\0')
      refuse(file.name + ": " + file.header.problem, "export the file again");
    uids.insert(file.header.series_uid);
  }
  const std::string count = std::to_string(uids.size()) + " DICOM series";
  if (series_uid.empty() && uids.size() != 1)
    refuse(source + " holds " + count, "give a folder with the files of one series");
  if (!series_uid.empty() && !uids.count(series_uid))
    refuse(source + " holds " + count + " and not the one asked for", "give the SeriesInstanceUID of one of them");
  if (!series_uid.empty()) std::erase_if(files, [&](const DicomFile& file) { return series_uid != file.header.series_uid; });
  return files;
}

/// What all files of a series have in common.
void check_same(const DicomFile& file, const DicomFile& first) {
  const DicomHeader &h = file.header, &f = first.header;
  const auto wrong = [&](const std::string& what) {
    refuse(file.name + ": " + what + " than " + first.name, "a series has one patient, study, frame of reference, image size, modality, orientation and pixel size");
  };
  // What no file says is not missed (anonymisers empty it); of what only some say, the others may have another.
  const auto same = [&](const char* mine, const char* its, const std::string& what) {
    if (std::strcmp(mine, its) != 0) wrong(*mine == '\0' ? "it has no " + what + ", other" : "it has another " + what);
  };
  same(h.patient_sha256, f.patient_sha256, "PatientID");
  same(h.study_uid, f.study_uid, "StudyInstanceUID");
  same(h.frame_of_reference_uid, f.frame_of_reference_uid, "FrameOfReferenceUID");
  if (h.rows != f.rows || h.columns != f.columns || h.samples != f.samples)
    wrong("its size is " + std::to_string(h.rows) + "x" + std::to_string(h.columns) + ", other");
  if (std::strcmp(h.modality, f.modality) != 0) wrong("it has another modality");
  if ((h.frame > 0) != (f.frame > 0)) wrong("it is of another kind, single-frame or multi-frame,");
  if (std::strcmp(h.photometric, f.photometric) != 0) wrong("it has another PhotometricInterpretation");
  if (!h.has_position || !h.has_orientation || !h.has_pixel_spacing)
    refuse(file.name + ": it lacks ImagePositionPatient, ImageOrientationPatient or PixelSpacing", "the slices of a series need all three");
  for (int i = 0; i < 6; ++i)
    if (std::abs(h.orientation[i] - f.orientation[i]) > kOrientationTolerance) wrong("it has another orientation");
  for (int i = 0; i < 2; ++i)
    if (std::abs(h.pixel_spacing_mm[i] - f.pixel_spacing_mm[i]) > kOrientationTolerance) wrong("it has another PixelSpacing");
}

void check_no_copies(const std::vector<DicomFile>& files) {
  std::set<std::string> seen;
  for (const auto& file : files)
    if (file.header.sop_instance_uid[0] != '\0' && file.header.frame <= 1 && !seen.insert(file.header.sop_instance_uid).second)
      refuse(file.name + ": its SOPInstanceUID is that of a file before it", "keep one copy of each image");
}

/// Sorts the files by position along the normal and checks that they lie on a regular grid. Returns the spacing.
double sort_and_check_positions(std::vector<DicomFile>& files, const Vector& normal) {
  const auto height = [&](const DicomFile& file) { return dot(position(file.header), normal); };
  std::stable_sort(files.begin(), files.end(), [&](const DicomFile& a, const DicomFile& b) { return height(a) < height(b); });
  std::vector<double> steps;
  for (std::size_t i = 1; i < files.size(); ++i) {
    steps.push_back(height(files[i]) - height(files[i - 1]));
    if (steps.back() < kPositionTolerance_mm)
      refuse(files[i].name + ": it lies at the position of " + files[i - 1].name,
             "a series has one image a position; separate echoes, phases and copies");
  }
  std::vector<double> sorted = steps;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const double median = sorted[sorted.size() / 2];
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (std::abs(steps[i] - median) <= std::max(kStepTolerance * median, kPositionTolerance_mm)) continue;
    const double n_steps = std::round(steps[i] / median);
    const bool missing = n_steps >= 2 && std::abs(steps[i] - n_steps * median) <= kStepTolerance * steps[i];
    refuse(files[i + 1].name + ": it lies " + mm(steps[i]) + " behind " + files[i].name + ", the slices elsewhere " + mm(median),
           missing ? std::to_string(static_cast<int>(n_steps) - 1) + " slice(s) are missing between them; export the series again"
                   : "a series needs a uniform spacing; resample it");
  }
  return (height(files.back()) - height(files.front())) / static_cast<double>(steps.size());
}

/// Slices must follow each other along the normal. With a tilted gantry they are sheared against each other.
void check_no_tilt(const std::vector<DicomFile>& files, const Vector& normal) {
  const auto in_plane = [&](const DicomFile& from, const DicomFile& to) {
    const Vector step = plus(position(to.header), -1.0, position(from.header));
    const Vector shear = plus(step, -dot(step, normal), normal);
    return std::sqrt(dot(shear, shear));
  };
  const double pixel = std::min(files[0].header.pixel_spacing_mm[0], files[0].header.pixel_spacing_mm[1]);
  for (std::size_t i = 1; i < files.size(); ++i) {
    const Vector step = plus(position(files[i].header), -1.0, position(files[i - 1].header));
    const double shear = in_plane(files[i - 1], files[i]), drift = in_plane(files[0], files[i]);
    if (shear > std::max(kStepTolerance * dot(step, normal), kPositionTolerance_mm) ||
        drift > std::max(kDriftTolerance * pixel, kPositionTolerance_mm))
      refuse(files[i].name + ": it is shifted sideways by " + mm(std::max(shear, drift)) + ", as with a tilted gantry",
             "resample the series to an upright grid first");
  }
}

ImageGeometry geometry_of(const DicomHeader& first, double slice_spacing_mm) {
  ImageGeometry geometry;
  geometry.spacing_mm = {first.pixel_spacing_mm[1], first.pixel_spacing_mm[0], slice_spacing_mm};
  if (first.has_position) geometry.origin_mm = position(first);
  if (first.has_orientation) {
    const Vector row = row_direction(first), column = column_direction(first), normal = cross(row, column);
    for (int i = 0; i < 3; ++i) {
      geometry.direction[3 * i] = row[i];
      geometry.direction[3 * i + 1] = column[i];
      geometry.direction[3 * i + 2] = normal[i];
    }
  }
  return geometry;
}

void warn(DicomSeries& series) {
  const auto all = [&](auto test) {
    return std::all_of(series.files.begin(), series.files.end(), [&](const DicomFile& file) { return test(file.header); });
  };
  if (!all([](const DicomHeader& h) { return h.has_position && h.has_orientation && h.has_pixel_spacing; }))
    series.warnings.emplace_back("position, orientation or pixel size are not in the file; 1 mm and the identity stand in for them");
  const auto is_magnitude = [](const DicomHeader& h) {
    constexpr const char* kOthers[] = {"P", "R", "I", "PHASE", "PHASE MAP", "REAL", "IMAGINARY", "MIXED"};
    return std::none_of(std::begin(kOthers), std::end(kOthers), [&](const char* other) { return std::strcmp(h.component, other) == 0; });
  };
  if (series.modality == "MR" && !all(is_magnitude))
    series.warnings.emplace_back("these are phase, real or imaginary images, and are taken for magnitudes: give the magnitudes");
  if (series.modality != "CT") return;
  if (!all([](const DicomHeader& h) { return h.has_rescale; }))
    series.warnings.emplace_back("a CT image without RescaleSlope: its stored values are taken as HU");
  if (!all([](const DicomHeader& h) { return !says_other_than_hu(h); }))
    series.warnings.emplace_back("RescaleType is not HU; the values are taken as HU");
}

}  // namespace

DicomSeries assemble_series(std::vector<DicomFile> files, const std::string& series_uid, const std::string& source) {
  DicomSeries series;
  series.files = pick_series(std::move(files), series_uid, source);
  for (const auto& file : series.files) check_file(file);
  check_no_copies(series.files);
  const DicomHeader first = series.files.front().header;
  series.modality = first.modality;
  double spacing_mm = first.slice_spacing_mm;
  if (series.files.size() > 1) {
    for (const auto& file : series.files) check_same(file, series.files.front());
    const Vector normal = cross(row_direction(first), column_direction(first));
    spacing_mm = sort_and_check_positions(series.files, normal);
    check_no_tilt(series.files, normal);
  }
  series.geometry = geometry_of(series.files.front().header, spacing_mm);
  warn(series);
  return series;
}

}  // namespace postrec
