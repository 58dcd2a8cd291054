#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <ctime>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "postrec/data/derived_series.hpp"

namespace postrec {

/// A code of a coding scheme with its meaning.
struct DicomCode {
  const char* value;
  const char* scheme;
  const char* meaning;
};

inline constexpr DicomCode kIterativeReconstruction = {"113963", "DCM", "Iterative Reconstruction"};
inline constexpr DicomCode kSourceImage = {"121322", "DCM", "Source image for image processing operation"};
inline constexpr DicomCode kQuantity = {"246205007", "SCT", "Quantity"};

/// The header of a source file, without its pixels, and what points at it. Only to be made in a child process.
struct SourceHeader {
  std::shared_ptr<DcmFileFormat> file;         ///< frames of one file share it
  std::uint64_t file_bytes = 0;                ///< with the pixels
  std::string sop_class, sop_instance;         ///< of the data set, else of the meta header; empty when neither holds a UID
  std::int64_t frame = 0;                      ///< that is meant, counted from 1; 0: the file is one image

  DcmDataset& dataset() { return *file->getDataset(); }
  /// Where it says something of the image: of a frame its functional group of that name, else the data set.
  DcmItem& part(const DcmTagKey& group);
};

/// False when the file cannot be read.
bool load_source_header(const std::filesystem::path& path, SourceHeader& header);

/// What is the same for all objects of a derived series, in plain text.
struct DerivedSeries {
  const DicomSource* source;
  const DerivedVolume* volume;
  const Derivation* derivation;
  std::string uid;
  std::time_t made_at;                         ///< one time for all of its files, as SeriesTime must be

  std::string instance_uid(std::int64_t instance) const;
  std::string description() const;             ///< SeriesDescription, at most 64 characters; of a long one the title is cut, not the warning
  DicomCode unit() const;                      ///< UCUM
  DicomCode quantity() const;                  ///< value "" for an intensity
};

/// The UID of the series: of the source's files, run, number and pixels. Throws Error(kNumerical) when a pixel is not finite.
DerivedSeries make_derived_series(const DicomSource& source, const DerivedVolume& volume, const Derivation& derivation, const char* kind);

/// Sets a text, a code as the only item of a sequence. Like all that follow for a child process only; std::runtime_error when DCMTK refuses, std::bad_alloc when
/// it has no memory.
void put_text(DcmItem& item, const DcmTagKey& tag, const std::string& value);
void put_text_if_empty(DcmItem& item, const DcmTagKey& tag, const std::string& value);
void put_code(DcmItem& item, const DcmTagKey& sequence, const DicomCode& code);
void require_good(const OFCondition& status);

/// Copies those of the attributes that the source has, as they are.
void keep(DcmItem& source, DcmItem& target, std::span<const DcmTagKey> tags);

/// Attributes that must be there, empty when nothing is known.
void require_elements(DcmItem& target, std::initializer_list<DcmTagKey> tags);

/// Everything but the pixels and what is special to a storage class: patient, study, place and acquisition of the first source, byte for byte; equipment,
/// series, times, derivation and references that are new. `sources`: those that the object was made from.
void put_derived_header(DcmDataset& target, const DerivedSeries& series, std::vector<SourceHeader>& sources, const std::string& sop_class, std::int64_t instance);

/// SourceImageSequence items, or those of ReferencedImageSequence.
void put_source_references(DcmItem& target, const DcmTagKey& sequence, std::vector<SourceHeader>& sources);

/// "-12.5\3": numbers as DICOM decimals, each within 16 characters.
std::string decimals(const std::vector<double>& values);

/// The grid of the source as DICOM writes it.
std::string position_of(const ImageGeometry& geometry, std::int64_t slice);
std::string orientation_of(const ImageGeometry& geometry);
std::string pixel_spacing_of(const ImageGeometry& geometry);

/// How far apart the slices of the series are, which one slice alone does not tell unless its source says so, and how thick, which only the scanner knows. Empty
/// when not known, or when slices that were left out make it uneven.
std::string slice_spacing_of(const DerivedSeries& series, SourceHeader& source);
std::string slice_thickness_of(SourceHeader& source);

/// Runs `build`, which fills a file from the headers of `sources`, in a child process; saves it with a preamble of zeros and our implementation UID,
/// reads it again and compares all of it. Written atomically to `path`.
/// Throws Error: kNoInput (a source has gone), kOutOfMemory, kInputOutput (not written or not read back), kInternal (build died).
void write_derived_object(const std::filesystem::path& path, const DerivedSeries& series, const std::vector<std::int64_t>& source_slices,
                          const std::function<void(DcmDataset&, std::vector<SourceHeader>&)>& build);

}  // namespace postrec
