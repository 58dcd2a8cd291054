#include "postrec/data/scratch_tensor.hpp"

#include <ATen/ATen.h>

#include <memory>

#include "child_process.hpp"

namespace postrec {

at::Tensor scratch_tensor(const std::filesystem::path& folder, at::IntArrayRef sizes, at::ScalarType dtype) {
  if (folder.empty()) return at::zeros(sizes, dtype);
  const std::size_t n_bytes = static_cast<std::size_t>(c10::multiply_integers(sizes)) * c10::elementSize(dtype);
  const auto memory = std::make_shared<SharedMemory>(n_bytes, folder);
  memory->reserve(n_bytes);
  return at::from_blob(
      memory->data(), sizes, [memory](void*) {}, dtype);
}

}  // namespace postrec
