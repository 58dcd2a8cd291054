#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec {

/// The number that is set, else `otherwise`.
double real_or(const Parameters& parameters, const std::string& key, double otherwise);

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

/// Fills what data say about themselves and nobody else has: [slice, coil or channel, rows, columns] and real [slice, rows, columns] give the sizes; k-space its acquired samples as the mask,
/// unless a pattern is set. Real data of an operator with detectors are [slice, view, detector], of an image of as many columns and rows as elements.
void fill_from_measurement(Parameters& parameters, const OperatorType& type, const at::Tensor& y);

/// Which samples of k-space [slice, coil, ky, kx] were acquired: those that are not exactly zero in every coil. Bool [slice, ky, kx]; a slice of zeros alone is taken to be beyond the object,
/// sampled as any of the others is.
at::Tensor acquired_samples(const at::Tensor& y);

/// Masks [slice, ky, kx] as a parameter: float32 [ky, kx] when they are all alike, else [slice, 1, ky, kx].
at::Tensor mask_parameter(const at::Tensor& masks);

}  // namespace postrec
