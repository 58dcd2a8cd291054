#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "postrec/image.hpp"
#include "postrec/parameters.hpp"

namespace postrec {

/// Whether a measurement came from a scanner or was computed from an image. Written into everything that derives from it.
enum class MeasurementOrigin { kAcquired, kSimulated };

/// What makes numbers of photons line integrals: N ~ Poisson(flux exp(-A x) + background). float32 each: one number, [detector], [view, detector] or
/// [slice, view, detector]. A flux of 0 marks a detector element that says nothing.
struct PhotonCounts {
  at::Tensor flux;                             ///< photons without an object, background not included
  at::Tensor background;                       ///< photons that the object does not absorb: scatter, dark current
};

/// y = A x + n, with what is needed to make A again and to place the result in the patient.
struct Measurement {
  at::Tensor y;                                ///< [slice, codomain], float32 or complex64, in physical units (line integrals; k-space as acquired)
  double sigma_y = 0.0;                        ///< noise standard deviation per real component, in the unit of y; 0 means not known
  MeasurementOrigin origin = MeasurementOrigin::kAcquired;
  std::string operator_name;                   ///< "mri-fourier"; empty means not known
  Parameters parameters;                       ///< those that were set for the operator, tensors included
  ImageGeometry geometry;                      ///< of the image to reconstruct
  IntensityUnit unit = IntensityUnit::kArbitrary;
  std::optional<PhotonCounts> counts;          ///< set: y holds numbers of photons instead of A x + n, and sigma_y is 0
};

}  // namespace postrec
