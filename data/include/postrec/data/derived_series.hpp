#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/image.hpp"

namespace postrec {

/// A checked DICOM series of CT or MR that derived objects take patient, study and place from. It holds paths, no patient data.
struct DicomSource {
  std::vector<std::filesystem::path> files;    ///< one a slice, by position along the normal
  std::vector<std::string> names;              ///< what a message calls each
  std::vector<std::int64_t> frames;            ///< which frame of the file each is, counted from 1; 0: the file is one image
  ImageGeometry geometry;
  std::string modality;                        ///< "CT" or "MR"
  std::int64_t rows = 0, columns = 0;
  std::string identity;                        ///< SHA-256 of the SHA-256 of its files: patient and study are in it, so a corrected source is another
  std::vector<std::string> warnings;           ///< without patient data
};

/// Whether `path` is a file with the DICM mark or a folder that directly holds one.
bool holds_dicom(const std::filesystem::path& path);

/// Reads the headers of a series in a folder, or of one file, with all the checks of read_scan.
/// Throws Error: what read_scan throws; kUsage for another modality than CT and MR, colour, or CT in another unit than HU; kBadData for a slice without position,
/// orientation or pixel size.
DicomSource read_dicom_source(const std::filesystem::path& path);

/// The slice of the source where a stack of `slices` images [rows, columns] on `grid` begins.
/// Throws Error(kUsage) unless all corners of the stack lie on the source's grid within 1e-3 mm.
std::int64_t first_source_slice(const DicomSource& source, const ImageGeometry& grid, std::int64_t slices, std::int64_t rows, std::int64_t columns);

enum class DerivedQuantity {
  kIntensity,                                  ///< in the unit of the source
  kStandardDeviation,                          ///< of an intensity
  kProbability,
};

/// Slices to write as one DICOM series.
struct DerivedVolume {
  std::string title;                           ///< for people: "posterior mean"
  int number = 1;                              ///< 1 to 99; the new SeriesNumber is the source's times 100 plus this
  DerivedQuantity quantity = DerivedQuantity::kIntensity;
  at::Tensor pixels;                           ///< real [slice, 1, H, W], HU for CT
  std::vector<std::int64_t> source_slices;     ///< where each slice lies, ascending
};

/// How the volumes of a run came about. Plain ASCII, without patient data.
struct Derivation {
  std::string software_version;                ///< "0.1.0"
  std::string model_sha256;                    ///< of the prior, 64 hexadecimal digits
  std::string description;                     ///< DerivationDescription
  std::string run;                             ///< all that decides the pixels, in words; part of what the UIDs are made from
  bool simulated = false;                      ///< the measurement was computed from an image; SeriesDescription says so
  bool from_source = false;                    ///< and that image is the source. Else the source lent its place and patient only, is referenced without being
                                               ///< called what the pixels come from, and says nothing of burned-in text and lossy compression
};

/// Writes a CT or MR image series, int16, one file a slice: 0001.dcm and so on in the new folder `folder`. CT has a rescale to HU, MR stored values
/// alone, whose scale is in the RealWorldValueMappingSequence. The attributes are listed in data/README.md.
///
/// UIDs are made from the source's files, the run, the number and the pixels, so that the same run gives the same ones and another image, patient or study
/// never shares them. Every file is written under a temporary name by a child process, read again and compared, then renamed.
/// Throws Error: kCannotCreate, kInputOutput (disk full; a file does not read back as it was written), kNoInput (the source has gone),
/// kOutOfMemory (the headers of the source are too large), kNumerical (a pixel is not finite).
void write_derived_series(const std::filesystem::path& folder, const DicomSource& source, const DerivedVolume& volume, const Derivation& derivation);

/// The same numbers as one Parametric Map, float32 with a frame for each slice.
void write_parametric_map(const std::filesystem::path& path, const DicomSource& source, const DerivedVolume& volume, const Derivation& derivation);

}  // namespace postrec
