#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ct_radon/ct_radon.hpp"

// The scans on which ct-radon is tested, on the CPU and on devices.
namespace postrec {

/// Parameters under a name that the test report shows.
struct Setting {
  std::string name;
  Parameters parameters;
};

inline void PrintTo(const Setting& setting, std::ostream* out) { *out << setting.name; }

using Values = std::vector<std::pair<std::string, ParameterValue>>;

inline Parameters with(Parameters parameters, const Values& values) {
  for (const auto& [key, value] : values) parameters.set(key, value);
  return parameters;
}

inline Parameters scan(std::int64_t height, std::int64_t width, double pixel_mm, std::int64_t n_views) {
  return with({}, {{"height", height}, {"width", width}, {"pixel-mm", pixel_mm}, {"n-views", n_views}});
}

inline std::unique_ptr<CtRadon> make(const Parameters& parameters) {
  std::unique_ptr<Operator> op = ct_radon_type().make(parameters);
  return std::unique_ptr<CtRadon>(dynamic_cast<CtRadon*>(op.release()));
}

inline std::unique_ptr<CtRadon> make_with(const Parameters& parameters, const ct::Kernels& kernels) {
  return std::make_unique<CtRadon>(make(parameters)->geometry(), ct::FbpFilter::kRamp, kernels);
}

inline at::Tensor random(const TensorSpec& spec, std::int64_t batch, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<std::int64_t> shape = spec.shape;
  shape.insert(shape.begin(), batch);
  at::Tensor values = at::empty(shape, at::kFloat);
  for (std::int64_t i = 0; i < values.numel(); ++i) values.mutable_data_ptr<float>()[i] = normal(generator);
  return values;
}

inline double inner_product(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor p = a.contiguous(), q = b.contiguous();
  double sum = 0;
  for (std::int64_t i = 0; i < p.numel(); ++i) sum += static_cast<double>(p.const_data_ptr<float>()[i]) * q.const_data_ptr<float>()[i];
  return sum;
}

inline double euclidean_norm(const at::Tensor& a) { return std::sqrt(inner_product(a, a)); }

inline std::vector<double> irregular_angles(std::int64_t n) {
  std::vector<double> angles;
  for (std::int64_t i = 0; i < n; ++i) angles.push_back(-1.0 + 2.399963 * static_cast<double>(i));  // golden angle
  return angles;
}

inline Parameters parallel(const Values& values = {}) { return with(scan(31, 37, 0.7, 23), values); }

inline Parameters fan(const std::string& beam, double isocenter_mm, double detector_mm, const Values& values = {}) {
  const Parameters source = parallel({{"beam", beam}, {"source-to-isocenter-mm", isocenter_mm}, {"source-to-detector-mm", detector_mm}});
  return with(source, values);
}

/// Prime sizes, and what is hard for one kernel or another.
inline std::vector<Setting> settings() {
  Parameters listed = with({}, {{"height", std::int64_t{31}}, {"width", std::int64_t{37}}, {"pixel-mm", 0.7}, {"angles-rad", irregular_angles(29)}});
  return {
      {"parallel", parallel()},
      {"parallel_listed_angles", listed},
      {"parallel_fine_detector", parallel({{"detector-spacing-mm", 0.19}})},
      {"parallel_coarse_detector", parallel({{"detector-spacing-mm", 2.3}})},
      {"parallel_offset_and_truncated", parallel({{"detector-offset-mm", 2.9}, {"n-detectors", std::int64_t{19}}})},
      {"parallel_one_detector", parallel({{"n-detectors", std::int64_t{1}}})},
      {"fan_flat", fan("fan-flat", 41.0, 83.0)},
      {"fan_flat_fine_and_offset", fan("fan-flat", 41.0, 83.0, {{"detector-spacing-mm", 0.31}, {"detector-offset-mm", -1.3}})},
      {"fan_flat_far_source", fan("fan-flat", 1000.0, 1500.0)},
      {"fan_curved", fan("fan-curved", 41.0, 83.0)},
      {"fan_curved_coarse", fan("fan-curved", 41.0, 83.0, {{"detector-spacing-mm", 7.9}})},
      // The source just outside the image's corners (16.9 mm): a fan of 120 degrees, in up to three bundles a view.
      {"fan_curved_wide", fan("fan-curved", 19.7, 40.0)},
  };
}

}  // namespace postrec
