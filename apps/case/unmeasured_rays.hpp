#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// Line integrals y [view, detector] with those rays that were not measured (`measured`: bool, as y) between their neighbours: along the detector, and where a whole view is missing, between the
/// views before and after it. Beyond the last measured one its value stays. A direct reconstruction takes every ray for measured, and one of 0 among others for a hole through the object.
at::Tensor fill_unmeasured_rays(const at::Tensor& y, const at::Tensor& measured);

}  // namespace postrec
