#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "postrec/image.hpp"

namespace postrec {

/// The pictures of a report, all [slice, C, H, W] float32 as stored.
struct ReportPictures {
  at::Tensor mean;
  at::Tensor standard_deviation;
  at::Tensor pseudo_inverse;
  at::Tensor samples;                          ///< [sample, slice, C, H, W]
  at::Tensor truth = {};                       ///< undefined unless simulated
  ImageGeometry geometry = {};
  IntensityUnit unit = IntensityUnit::kArbitrary;
};

/// A finished case as one HTML page that needs no other file and fetches nothing (html.hpp): for the middle slices mean, standard deviation (not where it is withheld), samples,
/// direct reconstruction, its difference to the mean, truth and error; then what the figures say in words, provenance, and a paragraph to cite. `run` is what run.json holds;
/// of it the page shows neither the command nor any path. `input_name` is what reported_name gives, maybe nothing.
///
/// Up to nine slices around the middle one and eight samples, fewer where the page would hold more than about twelve million pixels.
std::string report_page(const nlohmann::ordered_json& run, const ReportPictures& pictures, const std::string& input_name);

}  // namespace postrec
