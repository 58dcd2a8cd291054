#include "result/matching_slices.hpp"

#include <ATen/ATen.h>

#include "postrec/error.hpp"

namespace postrec {

at::Tensor matching_slices(const at::Tensor& volume, const std::vector<std::int64_t>& numbers, const std::string& what) {
  if (volume.size(0) == static_cast<std::int64_t>(numbers.size())) return volume;
  for (const auto number : numbers)
    if (number < 0 || number >= volume.size(0))
      throw Error(ErrorKind::kBadData, what + " has no slice " + std::to_string(number), "give the image that the result is of");
  return volume.index_select(0, at::tensor(numbers, at::kLong));
}

}  // namespace postrec
