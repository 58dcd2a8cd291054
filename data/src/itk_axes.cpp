#include "itk_axes.hpp"

#include <ATen/ATen.h>

namespace postrec {

at::Tensor tensor_from_itk(const at::Tensor& values, std::vector<std::int64_t> size, std::int64_t components) {
  if (size.size() == 2) size.push_back(1);
  std::vector<std::int64_t> shape(size.rbegin(), size.rend());
  shape.push_back(components);
  return values.reshape(shape).movedim(-1, -3).contiguous();
}

at::Tensor itk_from_tensor(const at::Tensor& pixels) { return pixels.movedim(-3, -1).contiguous(); }

std::vector<std::int64_t> itk_size(const at::Tensor& pixels) {
  std::vector<std::int64_t> size{pixels.size(-1), pixels.size(-2)};
  for (std::int64_t axis = pixels.dim() - 4; axis >= 0; --axis) size.push_back(pixels.size(axis));
  return size;
}

}  // namespace postrec
