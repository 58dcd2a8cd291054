#include "case/operator_parameters.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "postrec/data/ct_projections.hpp"
#include "postrec/data/tensor_file.hpp"
#include "postrec/host/plugin_registry.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

const ParameterSpec* find_spec(const OperatorType& type, const std::string& key) {
  const auto found = std::find_if(type.parameters.begin(), type.parameters.end(), [&](const auto& spec) { return spec.key == key; });
  return found == type.parameters.end() ? nullptr : &*found;
}

std::vector<std::string> keys_of(const OperatorType& type) {
  std::vector<std::string> keys;
  for (const auto& spec : type.parameters) keys.push_back(spec.key);
  return keys;
}

}  // namespace

double real_or(const Parameters& parameters, const std::string& key, double otherwise) { return parameters.has(key) ? parameters.real(key) : otherwise; }

void require_declared(const OperatorType& type, const std::vector<std::pair<std::string, std::string>>& settings) {
  for (const auto& [key, text] : settings)
    if (!find_spec(type, key)) throw Error(ErrorKind::kConfiguration, "operator '" + type.name + "' has no parameter '" + key + "'", nearest_hint(key, keys_of(type)));
}

void apply_settings(Parameters& parameters, const OperatorType& type, const std::vector<std::pair<std::string, std::string>>& settings) {
  require_declared(type, settings);
  for (const auto& [key, text] : settings) {
    const ParameterSpec* spec = find_spec(type, key);
    parameters.set(key, spec->type == ParameterType::kTensor ? ParameterValue(read_tensor(text)) : parse_parameter(*spec, text));
  }
}

bool declares_parameter(const OperatorType& type, const std::string& key) { return find_spec(type, key) != nullptr; }

void fill_parameter(Parameters& parameters, const OperatorType& type, const std::string& key, ParameterValue value) {
  if (find_spec(type, key) && !parameters.has(key)) parameters.set(key, std::move(value));
}

void fill_from_image(Parameters& parameters, const OperatorType& type, std::int64_t channels, std::int64_t height, std::int64_t width, double pixel_mm) {
  fill_parameter(parameters, type, "channels", channels);
  fill_parameter(parameters, type, "height", height);
  fill_parameter(parameters, type, "width", width);
  if (pixel_mm > 0.0) fill_parameter(parameters, type, "pixel-mm", pixel_mm);
}

at::Tensor acquired_samples(const at::Tensor& y) {
  at::Tensor masks = at::empty({y.size(0), y.size(2), y.size(3)}, at::kBool);
  for (std::int64_t slice = 0; slice < y.size(0); ++slice) masks[slice].copy_(y[slice].abs().amax(0).gt(0));
  const at::Tensor any = masks.any(0);
  for (std::int64_t slice = 0; slice < y.size(0); ++slice)
    if (!masks[slice].any().item<bool>()) masks[slice].copy_(any);  // beyond the object, not unmeasured
  return masks;
}

at::Tensor mask_parameter(const at::Tensor& masks) {
  return (masks.eq(masks[0]).all().item<bool>() ? masks[0] : masks.unsqueeze(1)).to(at::kFloat).contiguous();
}

void fill_from_measurement(Parameters& parameters, const OperatorType& type, const at::Tensor& y) {
  if (y.dim() == 3 && !y.is_complex()) {
    if (!find_spec(type, "n-detectors")) return fill_from_image(parameters, type, 1, y.size(1), y.size(2), 0.0);
    fill_parameter(parameters, type, "n-detectors", y.size(2));
    const double element = real_or(parameters, "detector-spacing-mm", real_or(parameters, "pixel-mm", 1.0));
    const std::int64_t side = image_side(y.size(2), real_or(parameters, "detector-offset-mm", 0.0), element);
    for (const char* key : {"height", "width"}) fill_parameter(parameters, type, key, side);
    if (!parameters.has("angles-rad")) fill_parameter(parameters, type, "n-views", y.size(1));
  }
  if (y.dim() != 4) return;
  fill_from_image(parameters, type, y.size(1), y.size(2), y.size(3), 0.0);
  fill_parameter(parameters, type, "coils", y.size(1));
  // Looking for it reads all of a volume.
  if (y.is_complex() && find_spec(type, "mask") && !parameters.has("mask") && !parameters.has("mask-pattern")) parameters.set("mask", mask_parameter(acquired_samples(y)));
}

}  // namespace postrec
