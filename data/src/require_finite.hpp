#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {

/// Throws Error(kBadData) with the number of NaN and infinite values and the index of the first. `source` begins the message.
void require_finite(const at::Tensor& values, const std::string& source);

/// That error, for those who find the values themselves.
Error not_finite(const std::string& source, std::uint64_t n_bad, const std::vector<std::uint64_t>& first_index);

}  // namespace postrec
