// Parametric Maps through DCMTK's dcmpmap: float32, all slices in one object.
#include <ATen/ATen.h>

#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>

#include "derived_object.hpp"

#include <dcmtk/dcmpmap/dpmparametricmapiod.h>

#include "dicom_uid.hpp"

namespace postrec {

namespace {

DPMParametricMapIOD make_map(const DerivedSeries& series) {
  const auto& derivation = *series.derivation;
  const IODEnhGeneralEquipmentModule::EquipmentInfo equipment("PostRec", "postrec", derivation.software_version.c_str(), derivation.software_version.c_str());
  const ContentIdentificationMacro content("1", series.volume->quantity == DerivedQuantity::kProbability ? "PROBABILITY" : "STD_DEVIATION",
                                           series.volume->title.c_str(), "PostRec");
  auto made = DPMParametricMapIOD::create<IODFloatingPointImagePixelModule>(
      series.source->modality.c_str(), "1", "1", static_cast<Uint16>(series.source->rows), static_cast<Uint16>(series.source->columns), equipment, content, "VOLUME", "QUANTITY",
      DPMTypes::CQ_RESEARCH);
  if (const auto* status = OFget<OFCondition>(&made)) require_good(*status);
  return *OFget<DPMParametricMapIOD>(&made);
}

CodeSequenceMacro code_macro(const DicomCode& code) { return CodeSequenceMacro(code.value, code.scheme, code.meaning); }

void share_grid(DPMParametricMapIOD& map, const ImageGeometry& g, const std::string& thickness, const std::string& spacing) {
  FGPixelMeasures measures;
  require_good(measures.setPixelSpacing(pixel_spacing_of(g).c_str()));
  if (!thickness.empty()) require_good(measures.setSliceThickness(thickness.c_str()));
  if (!spacing.empty()) require_good(measures.setSpacingBetweenSlices(spacing.c_str()));
  require_good(map.addForAllFrames(measures));
  FGPlaneOrientationPatient orientation;
  const auto direction = [&](int row, int column) { return OFString(decimals({g.direction[3 * row + column]}).c_str()); };
  require_good(orientation.setImageOrientationPatient(direction(0, 0), direction(1, 0), direction(2, 0), direction(0, 1), direction(1, 1), direction(2, 1)));
  require_good(map.addForAllFrames(orientation));
}

void share_meaning(DPMParametricMapIOD& map, const DerivedSeries& series, double low, double high) {
  FGParametricMapFrameType type;
  require_good(type.setFrameType("DERIVED\\PRIMARY\\VOLUME\\QUANTITY"));
  require_good(map.addForAllFrames(type));
  FGPixelValueTransformation identity;
  identity.setFGType(FGPixelValueTransformation::E_PixelValTrans_Identity);
  require_good(map.addForAllFrames(identity));

  FGRealWorldValueMapping mapping;
  auto item = std::make_unique<FGRealWorldValueMapping::RWVMItem>();
  require_good(item->setDoubleFloatRealWorldValueFirstValueMapped(low));
  require_good(item->setDoubleFloatRealWorldValueLastValueMapped(high));
  require_good(item->setRealWorldValueIntercept(0.0));
  require_good(item->setRealWorldValueSlope(1.0));
  require_good(item->setLUTExplanation(series.volume->title.c_str()));
  require_good(item->setLUTLabel("POSTREC"));
  const DicomCode unit = series.unit();
  require_good(item->getMeasurementUnitsCode().set(unit.value, unit.scheme, unit.meaning));
  if (series.quantity().value[0] != '\0') {
    auto quantity = std::make_unique<ContentItemMacro>();
    require_good(quantity->setValueType(ContentItemMacro::VT_CODE));
    quantity->getEntireConceptNameCodeSequence().push_back(new CodeSequenceMacro(kQuantity.value, kQuantity.scheme, kQuantity.meaning));
    quantity->getEntireConceptCodeSequence().push_back(new CodeSequenceMacro(series.quantity().value, series.quantity().scheme, series.quantity().meaning));
    item->getEntireQuantityDefinitionSequence().push_back(quantity.release());
  }
  mapping.getRealWorldValueMapping().push_back(item.release());
  require_good(map.addForAllFrames(mapping));
}

void add_source(FGDerivationImage& derivation, const SourceHeader& source, bool from_source) {
  DerivationImageItem* item = nullptr;
  require_good(derivation.addDerivationImageItem(code_macro(kIterativeReconstruction), "", item));
  if (source.sop_instance.empty() || !from_source || source.frame > std::numeric_limits<Uint16>::max()) return;  // dcmpmap counts frames in 16 bits
  auto image = std::make_unique<SourceImageItem>();
  require_good(image->getPurposeOfReferenceCode().set(kSourceImage.value, kSourceImage.scheme, kSourceImage.meaning));
  auto& reference = image->getImageSOPInstanceReference();
  require_good(reference.setReferencedSOPClassUID(source.sop_class.c_str()));
  require_good(reference.setReferencedSOPInstanceUID(source.sop_instance.c_str()));
  if (source.frame > 0) require_good(reference.addReferencedFrameNumber(static_cast<Uint16>(source.frame)));
  item->getSourceImageItems().push_back(image.release());
}

/// One frame: its place, its source and its pixels.
void add_frame(DPMParametricMapIOD::Frames<Float32>& frames, const DerivedSeries& series, const SourceHeader& source, std::size_t index, const float* pixels) {
  const std::int64_t slice = series.volume->source_slices[index];
  const ImageGeometry& g = series.source->geometry;
  const auto coordinate = [&](int i) {
    return OFString(decimals({g.origin_mm[i] + g.direction[3 * i + 2] * g.spacing_mm[2] * static_cast<double>(slice)}).c_str());
  };
  FGPlanePosPatient position;
  require_good(position.setImagePositionPatient(coordinate(0), coordinate(1), coordinate(2)));
  FGFrameContent content;
  require_good(content.setStackID("1"));
  require_good(content.setInStackPositionNumber(static_cast<Uint32>(index + 1)));
  require_good(content.setDimensionIndexValues(static_cast<Uint32>(index + 1), 0));
  FGDerivationImage derivation;
  add_source(derivation, source, series.derivation->from_source);
  OFVector<FGBase*> groups;
  groups.push_back(&position);
  groups.push_back(&content);
  groups.push_back(&derivation);
  const auto n = static_cast<std::size_t>(series.source->rows * series.source->columns);
  require_good(frames.addFrame(const_cast<float*>(pixels), n, groups));
}

/// All source instances once more, by series, as the standard wants it of every object that references images of its study.
void put_common_references(DcmDataset& target, std::vector<SourceHeader>& sources) {
  OFString uid;
  if (sources.front().dataset().findAndGetOFString(DCM_SeriesInstanceUID, uid).bad() || !valid_uid(uid.c_str())) return;
  DcmItem* series = nullptr;
  require_good(target.findOrCreateSequenceItem(DCM_ReferencedSeriesSequence, series, 0));
  put_text(*series, DCM_SeriesInstanceUID, uid.c_str());
  std::string last;
  for (const auto& source : sources) {
    if (source.sop_instance.empty() || source.sop_instance == last) continue;  // frames of one file are one instance
    last = source.sop_instance;
    DcmItem* instance = nullptr;
    require_good(series->findOrCreateSequenceItem(DCM_ReferencedInstanceSequence, instance, -2));
    put_text(*instance, DCM_ReferencedSOPClassUID, source.sop_class);
    put_text(*instance, DCM_ReferencedSOPInstanceUID, source.sop_instance);
  }
}

}  // namespace

void write_parametric_map(const std::filesystem::path& path, const DicomSource& source, const DerivedVolume& volume, const Derivation& derivation) {
  const DerivedSeries series = make_derived_series(source, volume, derivation, "map");
  const at::Tensor pixels = volume.pixels.detach().to(at::kCPU, at::kFloat).contiguous();
  const auto* data = pixels.data_ptr<float>();
  const double low = pixels.min().item<double>(), high = pixels.max().item<double>();
  write_derived_object(path, series, volume.source_slices, [&](DcmDataset& target, std::vector<SourceHeader>& sources) {
    DPMParametricMapIOD map = make_map(series);
    share_grid(map, source.geometry, slice_thickness_of(sources.front()), slice_spacing_of(series, sources.front()));
    share_meaning(map, series, low, high);
    require_good(map.getIODMultiframeDimensionModule().addDimensionIndex(DCM_ImagePositionPatient, derived_uid("dimensions of " + series.uid).c_str(),
                                                                         DCM_PlanePositionSequence, "Position"));
    auto variant = map.getFrames();
    auto* frames = OFget<DPMParametricMapIOD::Frames<Float32>>(&variant);
    if (frames == nullptr) throw std::runtime_error("no float frames");
    const auto n = static_cast<std::size_t>(source.rows * source.columns);
    for (std::size_t i = 0; i < sources.size(); ++i) add_frame(*frames, series, sources[i], i, data + i * n);
    require_good(map.writeDataset(target));
    put_derived_header(target, series, sources, UID_ParametricMapStorage, 1);
    put_text_if_empty(target, DCM_BurnedInAnnotation, "NO");  // a map must say both, known or not
    put_text_if_empty(target, DCM_LossyImageCompression, "00");
    put_common_references(target, sources);
  });
}

}  // namespace postrec
