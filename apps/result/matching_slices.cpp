#include "result/matching_slices.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "case/case.hpp"
#include "postrec/error.hpp"

namespace postrec {

at::Tensor matching_slices(const at::Tensor& volume, const std::vector<std::int64_t>& numbers, const std::string& what) {
  if (volume.size(0) == static_cast<std::int64_t>(numbers.size())) return volume;
  for (const auto number : numbers)
    if (number < 0 || number >= volume.size(0))
      throw Error(ErrorKind::kBadData, what + " has no slice " + std::to_string(number), "give the image that the result is of");
  return volume.index_select(0, at::tensor(numbers, at::kLong));
}

std::optional<std::int64_t> first_slice_in(const ImageGeometry& whole, std::int64_t n_whole, const ImageGeometry& part, std::int64_t n_part, std::int64_t rows, std::int64_t columns) {
  double along_normal = 0.0;
  for (std::size_t axis = 0; axis < 3; ++axis) along_normal += (part.origin_mm[axis] - whole.origin_mm[axis]) * whole.direction[3 * axis + 2];
  const double place = std::round(along_normal / whole.spacing_mm[2]);
  if (!(place >= 0.0 && place <= static_cast<double>(n_whole - n_part))) return std::nullopt;
  const auto first = static_cast<std::int64_t>(place);
  const double apart = corner_distance_mm(geometry_from_slice(whole, first), part, columns, rows, n_part);
  if (apart > 0.5 * std::min(part.spacing_mm[0], part.spacing_mm[1])) return std::nullopt;
  return first;
}

}  // namespace postrec
