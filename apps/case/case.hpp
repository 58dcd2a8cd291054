#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "case/noise_model.hpp"
#include "postrec/data/ct_projections.hpp"
#include "postrec/host/plugin_registry.hpp"
#include "postrec/measurement.hpp"

namespace postrec {

/// What the user says about one case: where it is, how it was measured or is to be simulated.
struct CaseOptions {
  std::filesystem::path input;
  bool simulate = false;                       ///< the input is an image, whose measurement is computed
  std::string operator_name;                   ///< empty: what the measurement says
  std::vector<std::pair<std::string, std::string>> settings;  ///< --set key=value
  std::optional<std::int64_t> slice;           ///< one slice instead of all, counted from 0
  std::optional<IntensityUnit> unit;           ///< instead of what the file says
  std::optional<double> sigma_y;               ///< per real component, in the unit of the measurement
  std::optional<double> noise;                 ///< simulation: sigma_y of the scan divided by its reference intensity
  NoiseOptions noise_model;                    ///< how the noise is distributed
  ProjectionOptions projections;               ///< CT: how they were taken; photons are said by noise_model
  bool smooth_phase = false;                   ///< simulation of complex images: a smooth phase instead of none
  std::int64_t simulate_coils = 0;             ///< simulation: so many synthetic receive coils; 0: what the operator does without
  std::uint64_t seed = 0;
  std::filesystem::path scratch;               ///< a folder: what grows with the number of slices lies in files there (scratch_tensor.hpp); empty: in memory
};

struct CaseSlice {
  std::int64_t index = 0;                      ///< in measurement.y
  std::int64_t number = 0;                     ///< in the input; names the random streams
};

/// A measurement with all that the walk needs to know about it.
struct Case {
  Measurement measurement;                     ///< its y: photon counts with a Poisson noise model, and then sigma_y is 0
  NoiseModel noise;                            ///< .slice(CaseSlice::number, codomain) is that of a slice
  std::vector<CaseSlice> slices;               ///< those to reconstruct
  at::Tensor truth;                            ///< simulated: the image, float32 [slice of y, C, H, W], as stored; else undefined
  std::string sigma_y_source;                  ///< "given", "measurement file", "simulated" or "estimated ...": how sigma_y was found
  std::vector<std::string> notes;              ///< what the user should know, one sentence each
  double volume_intensity = 0.0;               ///< of the whole input (volume_scale.hpp), whichever slices are asked for; 0: not known, or not needed
  std::filesystem::path scratch;               ///< that of the options
  std::string reported_name;                   ///< of the input, as reports may show it (report_page_names.hpp); may be empty
};

/// Reads the measurement, or reads the image and simulates it. Afterwards operator, parameters and sigma_y are known.
/// Throws Error: what the readers throw, kUsage (an option is missing or does not fit), kConfiguration (a parameter is wrong).
Case read_case(const CaseOptions& options, PluginRegistry& registry);

/// The operator of one slice: 4-D tensor parameters [slice, ...], as .cfl files give them, are cut to it.
std::shared_ptr<const Operator> make_operator(PluginRegistry& registry, const Measurement& measurement, std::int64_t slice_index);

/// The geometry of the stack that begins with slice `first` of this one.
ImageGeometry geometry_from_slice(ImageGeometry geometry, std::int64_t first);

}  // namespace postrec
