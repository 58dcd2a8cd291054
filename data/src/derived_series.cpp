// Derived CT and MR image series: 16-bit integers, one file a slice.
#include "postrec/data/derived_series.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "derived_object.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr double kLargestStored = 32767;

const DcmTagKey kKeptMr[] = {DCM_ScanningSequence,   DCM_SequenceVariant,   DCM_ScanOptions,   DCM_MRAcquisitionType, DCM_SequenceName,
                             DCM_RepetitionTime,     DCM_EchoTime,          DCM_InversionTime, DCM_EchoTrainLength,   DCM_EchoNumbers,
                             DCM_NumberOfAverages,   DCM_ImagingFrequency,  DCM_ImagedNucleus, DCM_FlipAngle,         DCM_MagneticFieldStrength,
                             DCM_ReceiveCoilName,    DCM_TransmitCoilName,  DCM_TriggerTime,   DCM_DiffusionBValue};
const DcmTagKey kKeptCt[] = {DCM_KVP,           DCM_DataCollectionDiameter, DCM_ExposureTime,      DCM_XRayTubeCurrent, DCM_Exposure,
                             DCM_FilterType,    DCM_GeneratorPower,         DCM_FocalSpots,        DCM_RotationDirection, DCM_TableHeight,
                             DCM_SingleCollimationWidth, DCM_TotalCollimationWidth, DCM_SpiralPitchFactor, DCM_CTDIvol};

/// The smallest of 1, 2 and 5 times a power of ten that holds `largest` in 16 bits: a step that is exact as a decimal text.
double storage_step(double largest) {
  if (largest <= 0) return 1.0;
  const double decade = std::pow(10.0, std::floor(std::log10(largest / kLargestStored)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", factor * decade);
    const double step = std::strtod(text, nullptr);
    if (largest / step <= kLargestStored) return step;
  }
  throw Error(ErrorKind::kNumerical, "an image has values of " + std::to_string(largest), "they do not fit into 16 bits");
}

/// How a volume is stored as integers, and how to show them.
struct Stored {
  double step = 1.0;
  double window_center = 0.0, window_width = 1.0;  ///< in the unit that a viewer shows
};

/// The integers of one slice, [row, column].
at::Tensor stored_pixels(const at::Tensor& pixels, double step) {
  return (pixels.detach().to(at::kCPU, at::kDouble) / step).round().to(at::kShort).contiguous();
}

/// The value at this share of the order of all.
double percentile(const std::vector<std::int64_t>& counts, std::int64_t n, double share) {
  const auto rank = static_cast<std::int64_t>(share * static_cast<double>(n - 1));
  std::size_t value = 0;
  for (std::int64_t below = 0; below + counts[value] <= rank; ++value) below += counts[value];
  return static_cast<double>(value) - kLargestStored - 1;
}

/// Slice by slice, so that a volume may be larger than memory.
Stored store(const DerivedVolume& volume, bool shown_rescaled) {
  const at::Tensor& pixels = volume.pixels;
  double largest = 0.0;
  for (std::int64_t slice = 0; slice < pixels.size(0); ++slice) largest = std::max(largest, pixels[slice].abs().max().item<double>());
  Stored stored;
  stored.step = storage_step(largest);
  std::vector<std::int64_t> counts(2 * static_cast<std::size_t>(kLargestStored) + 2);
  for (std::int64_t slice = 0; slice < pixels.size(0); ++slice) {
    const at::Tensor integers = stored_pixels(pixels[slice], stored.step);
    const auto* data = integers.data_ptr<std::int16_t>();
    for (std::int64_t i = 0; i < integers.numel(); ++i) ++counts[static_cast<std::size_t>(data[i] + static_cast<int>(kLargestStored) + 1)];
  }
  const double low = percentile(counts, pixels.numel(), 0.005), high = percentile(counts, pixels.numel(), 0.995), unit = shown_rescaled ? stored.step : 1.0;
  stored.window_center = unit * (low + high) / 2;
  stored.window_width = unit * std::max(1.0, high - low);
  return stored;
}

void put_number(DcmItem& item, const DcmTagKey& tag, Uint16 value) { require_good(item.putAndInsertUint16(tag, value)); }

/// Values whose VR depends on the pixels.
void put_signed(DcmItem& item, const DcmTagKey& tag, Sint16 value) {
  auto* element = new DcmSignedShort(DcmTag(tag, EVR_SS));
  require_good(element->putSint16(value));
  require_good(item.insert(element, true));
}

void put_mapping(DcmItem& target, const DerivedSeries& series, double step) {
  DcmItem* mapping = nullptr;
  require_good(target.findOrCreateSequenceItem(DCM_RealWorldValueMappingSequence, mapping, 0));
  put_signed(*mapping, DCM_RealWorldValueFirstValueMapped, -32767);
  put_signed(*mapping, DCM_RealWorldValueLastValueMapped, 32767);
  require_good(mapping->putAndInsertFloat64(DCM_RealWorldValueIntercept, 0.0));
  require_good(mapping->putAndInsertFloat64(DCM_RealWorldValueSlope, step));
  put_text(*mapping, DCM_LUTExplanation, series.volume->title);
  put_text(*mapping, DCM_LUTLabel, "POSTREC");
  put_code(*mapping, DCM_MeasurementUnitsCodeSequence, series.unit());
  if (series.quantity().value[0] == '\0') return;
  DcmItem* quantity = nullptr;
  require_good(mapping->findOrCreateSequenceItem(DCM_QuantityDefinitionSequence, quantity, 0));
  put_text(*quantity, DCM_ValueType, "CODE");
  put_code(*quantity, DCM_ConceptNameCodeSequence, kQuantity);
  put_code(*quantity, DCM_ConceptCodeSequence, series.quantity());
}

/// An enhanced source has them in functional groups, and its echo time under another name.
void keep_groups_of_frame(SourceHeader& source, DcmItem& target) {
  keep(source.part(DCM_MRTimingAndRelatedParametersSequence), target, kKeptMr);
  keep(source.part(DCM_MRAveragesSequence), target, kKeptMr);
  Float64 echo_time = 0;
  if (source.part(DCM_MREchoSequence).findAndGetFloat64(DCM_EffectiveEchoTime, echo_time).good()) put_text(target, DCM_EchoTime, decimals({echo_time}));
}

void put_mr(SourceHeader& source, DcmItem& target) {
  keep(source.dataset(), target, kKeptMr);
  if (source.frame > 0) keep_groups_of_frame(source, target);
  put_text_if_empty(target, DCM_ScanningSequence, "RM");
  put_text_if_empty(target, DCM_SequenceVariant, "NONE");
  require_elements(target, {DCM_ScanOptions, DCM_MRAcquisitionType, DCM_RepetitionTime, DCM_EchoTime, DCM_EchoTrainLength});
  OFString sequence;
  target.findAndGetOFStringArray(DCM_ScanningSequence, sequence);
  if (sequence.find("IR") != OFString_npos) require_elements(target, {DCM_InversionTime});
  put_text(target, DCM_ImageType, "DERIVED\\PRIMARY\\OTHER");
}

void put_ct(SourceHeader& source, DcmItem& target, const DerivedSeries& series, double step) {
  keep(source.dataset(), target, kKeptCt);
  keep(source.part(DCM_CTXRayDetailsSequence), target, kKeptCt);
  require_elements(target, {DCM_KVP, DCM_AcquisitionNumber});
  put_text(target, DCM_ImageType, "DERIVED\\PRIMARY\\AXIAL");
  put_text(target, DCM_RescaleIntercept, "0");
  put_text(target, DCM_RescaleSlope, decimals({step}));
  put_text(target, DCM_RescaleType, series.volume->quantity == DerivedQuantity::kProbability ? "US" : "HU");
}

void put_plane(SourceHeader& source, DcmItem& target, const DerivedSeries& series, std::int64_t slice) {
  const ImageGeometry& geometry = series.source->geometry;
  put_text(target, DCM_ImagePositionPatient, position_of(geometry, slice));
  put_text(target, DCM_ImageOrientationPatient, orientation_of(geometry));
  put_text(target, DCM_PixelSpacing, pixel_spacing_of(geometry));
  const DcmTagKey thickness[] = {DCM_SliceThickness};
  keep(source.part(DCM_PixelMeasuresSequence), target, thickness);
  require_elements(target, {DCM_SliceThickness});
  if (const std::string spacing = slice_spacing_of(series, source); !spacing.empty()) put_text(target, DCM_SpacingBetweenSlices, spacing);
}

void put_pixels(DcmItem& target, const DicomSource& source, const Stored& stored, const std::vector<std::int16_t>& pixels) {
  put_number(target, DCM_SamplesPerPixel, 1);
  put_text(target, DCM_PhotometricInterpretation, "MONOCHROME2");
  put_number(target, DCM_Rows, static_cast<Uint16>(source.rows));
  put_number(target, DCM_Columns, static_cast<Uint16>(source.columns));
  put_number(target, DCM_BitsAllocated, 16);
  put_number(target, DCM_BitsStored, 16);
  put_number(target, DCM_HighBit, 15);
  put_number(target, DCM_PixelRepresentation, 1);
  put_text(target, DCM_WindowCenter, decimals({stored.window_center}));
  put_text(target, DCM_WindowWidth, decimals({stored.window_width}));
  put_text(target, DCM_VOILUTFunction, "LINEAR_EXACT");  // the default needs a width of 1 and more, which probabilities have not
  require_good(target.putAndInsertUint16Array(DCM_PixelData, reinterpret_cast<const Uint16*>(pixels.data()), static_cast<unsigned long>(pixels.size())));
}

}  // namespace

void write_derived_series(const fs::path& folder, const DicomSource& source, const DerivedVolume& volume, const Derivation& derivation) {
  const bool ct = source.modality == "CT";
  const DerivedSeries series = make_derived_series(source, volume, derivation, "image");
  const Stored stored = store(volume, ct);
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(ErrorKind::kCannotCreate, quoted_path(folder) + " cannot be created: " + failure.message(), "check that its folder can be written");
  for (std::size_t i = 0; i < volume.source_slices.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "%04zu.dcm", i + 1);
    // The object is made in a child, where LibTorch must not be touched.
    const at::Tensor integers = stored_pixels(volume.pixels[static_cast<std::int64_t>(i)], stored.step);
    const std::vector<std::int16_t> pixels(integers.data_ptr<std::int16_t>(), integers.data_ptr<std::int16_t>() + integers.numel());
    write_derived_object(folder / name, series, {volume.source_slices[i]}, [&](DcmDataset& target, std::vector<SourceHeader>& sources) {
      SourceHeader& first = sources.front();
      put_derived_header(target, series, sources, ct ? UID_CTImageStorage : UID_MRImageStorage, static_cast<std::int64_t>(i) + 1);
      put_source_references(target, derivation.from_source ? DCM_SourceImageSequence : DCM_ReferencedImageSequence, sources);
      if (ct) put_ct(first, target, series, stored.step);
      else put_mr(first, target);
      put_plane(first, target, series, volume.source_slices[i]);
      put_mapping(target, series, stored.step);
      put_pixels(target, source, stored, pixels);
    });
  }
}

}  // namespace postrec
