#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec {

/// Throws Error(kConfiguration) naming the nearest known key for one that the operator does not declare.
void require_declared(const OperatorType& type, const std::vector<std::pair<std::string, std::string>>& settings);

/// Sets each key=value for an operator; a tensor parameter's value is a file. Throws Error: as require_declared, and what read_tensor throws.
void apply_settings(Parameters& parameters, const OperatorType& type, const std::vector<std::pair<std::string, std::string>>& settings);

/// Whether the operator has a parameter `key`.
bool declares_parameter(const OperatorType& type, const std::string& key);

/// Sets `key` unless it is set already or the operator does not declare it.
void fill_parameter(Parameters& parameters, const OperatorType& type, const std::string& key, ParameterValue value);

/// Fills the scan parameters that belong to an image of this size.
void fill_from_image(Parameters& parameters, const OperatorType& type, std::int64_t channels, std::int64_t height, std::int64_t width, double pixel_mm);

/// Fills what bare data say about themselves: [slice, coil or channel, rows, columns] gives the sizes, and samples of a k-space that are
/// exactly zero in every coil were not acquired.
void fill_from_measurement(Parameters& parameters, const OperatorType& type, const at::Tensor& y, double pixel_mm);

/// What real [slice, view, detector] of a projector say about themselves: the views and detector elements; and an image of as many columns and rows as elements.
void fill_from_sinogram(Parameters& parameters, const OperatorType& type, const at::Tensor& y);

}  // namespace postrec
