#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

/// What the checks need to know of one DICOM file, and of group 0010 nothing but whose it is, as a hash. Plain data, because a child process fills it in shared
/// memory.
struct DicomHeader {
  bool was_read = false;  ///< whether the reader came to this file and survived it
  bool is_dicom = false;
  bool is_whole = false;  ///< it was read to its end; what follows is what it says
  char problem[120] = {};  ///< why the file cannot be used; fixed texts only, never a value from the file
  char sop_instance_uid[65] = {};
  char sop_class[65] = {};
  char series_uid[65] = {};
  char study_uid[65] = {};
  char frame_of_reference_uid[65] = {};
  char patient_sha256[65] = {};  ///< of PatientID; empty without one
  char modality[17] = {};
  char photometric[17] = {};
  char rescale_type[17] = {};
  char component[17] = {};  ///< ComplexImageComponent, else the third value of ImageType: of MR M, P, R, I or in words
  std::int64_t rows = 0, columns = 0, samples = 1, frames = 1;
  std::int64_t bits_allocated = 0, bits_stored = 0, high_bit = 0;
  bool has_pixels = false;  ///< there is PixelData
  bool projection = false;  ///< of DICOM-CT-PD
  bool localiser = false;   ///< ImageType says LOCALIZER behind its second value
  bool compressed = false;
  std::uint64_t pixel_bytes = 0;  ///< of uncompressed PixelData; of a frame: its share
  bool enhanced = false;          ///< the file has a functional group for each frame
  std::int64_t frame = 0;         ///< this is the header of that frame, counted from 1; 0: of the file
  bool has_position = false, has_orientation = false, has_pixel_spacing = false, has_rescale = false;
  double position_mm[3] = {};               ///< ImagePositionPatient
  double orientation[6] = {};               ///< ImageOrientationPatient: direction of a row, then of a column
  double pixel_spacing_mm[2] = {1.0, 1.0};  ///< between rows, then between columns
  double slice_spacing_mm = 1.0;            ///< SpacingBetweenSlices, else SliceThickness, else 1
  double rescale_slope = 1.0, rescale_intercept = 0.0;
  bool has_padding = false;
  std::int64_t padding[2] = {};  ///< the stored values from PixelPaddingValue to PixelPaddingRangeLimit, the smaller first
};

/// Why a file that could be read is nothing to reconstruct; empty for an image.
std::string reason_to_leave_out(const DicomHeader& header);

/// Whether it says that its values are in another unit than HU.
bool says_other_than_hu(const DicomHeader& header);

/// Reads the headers with DCMTK in a child process. A file that kills the child is marked so in `problem`.
std::vector<DicomHeader> read_dicom_headers(const std::vector<std::filesystem::path>& files);

/// The frames of an enhanced multi-frame file whose header is `whole`, each as the header of an image of its own: geometry and rescale from its functional
/// group, else from the shared one. Also in a child process.
std::vector<DicomHeader> read_frame_headers(const std::filesystem::path& file, const DicomHeader& whole);

}  // namespace postrec
