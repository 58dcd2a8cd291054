// BART's files: .hdr is text ("# Dimensions" and a line of numbers), .cfl complex64 with the first dimension fastest in memory.
//
// Which BART dimension becomes which axis of [slice, coil, ky, kx]:
//   kx (columns, fastest) and ky (rows) are the two of the dimensions 0, 1, 2 that form the plane, the lower number being kx:
//     dimension 2 of size 1: kx = 0 (readout), ky = 1 (first phase encoding); else dimension 0 of size 1: kx = 1, ky = 2;
//   coil is dimension 3, slice is dimension 13. Every other dimension must have size 1.
// The order in memory is then the same on both sides, and nothing is transposed.
#include "postrec/data/cfl.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "cfl_files.hpp"
#include "descriptor.hpp"
#include "input_file.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "require_finite.hpp"
#include "text_header.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr int kDimensions = 16;
constexpr int kCoil = 3, kSlice = 13;
using Dimensions = std::array<std::int64_t, kDimensions>;

Dimensions read_dimensions(const fs::path& hdr) {
  check_input_file(hdr);
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::kBadData, quoted_path(hdr) + " " + what, "BART writes a line '# Dimensions' and up to 16 sizes behind it");
  };
  constexpr std::size_t kLimit = 1 << 20;
  std::istringstream lines(read_head(hdr, kLimit));
  std::string line;
  while (std::getline(lines, line) && trimmed(line) != "# Dimensions") continue;
  if (!std::getline(lines, line)) refuse("has no dimensions");
  Dimensions dims;
  dims.fill(1);
  int n = 0;
  std::istringstream words(line);
  for (std::string word; words >> word; ++n) {
    std::int64_t value = 0;
    std::size_t used = 0;
    try {
      value = std::stoll(word, &used);
    } catch (const std::exception&) {
    }
    if (used != word.size() || value < 1) refuse("has a dimension that is not a number from 1");
    if (n >= kDimensions && value != 1) refuse("has more than 16 dimensions");
    if (n < kDimensions) dims[n] = value;
  }
  if (n == 0) refuse("has no dimensions");
  return dims;
}

/// [slice, coil, ky, kx] of these dimensions.
std::vector<std::int64_t> tensor_shape(const Dimensions& dims, const fs::path& hdr) {
  for (int d = kCoil + 1; d < kDimensions; ++d)
    if (d != kSlice && dims[d] != 1)
      throw Error(ErrorKind::kBadData, quoted_path(hdr) + " has size " + std::to_string(dims[d]) + " in dimension " + std::to_string(d),
                  "only the dimensions 0 to 3 and 13 are read; take one with 'bart slice " + std::to_string(d) + " 0'");
  if (dims[0] != 1 && dims[2] != 1)
    throw Error(ErrorKind::kBadData,
                quoted_path(hdr) + " is a 3-D acquisition of " + std::to_string(dims[0]) + "x" + std::to_string(dims[1]) + "x" +
                    std::to_string(dims[2]),
                "transform the readout with 'bart fft -i -u 1' and take one position with 'bart slice 0 K'");
  const bool first_plane = dims[2] == 1;
  return {dims[kSlice], dims[kCoil], first_plane ? dims[1] : dims[2], first_plane ? dims[0] : dims[1]};
}

/// The values of a .cfl where they lie: the kernel reads what is used. What is written to the tensor stays in memory.
at::Tensor mapped_values(const fs::path& cfl, at::IntArrayRef shape, std::size_t n_bytes) {
  const Descriptor file(::open(cfl.c_str(), O_RDONLY | O_CLOEXEC));
  void* const values = file.get() < 0 ? MAP_FAILED : ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  if (values == MAP_FAILED) throw Error(ErrorKind::kInputOutput, quoted_path(cfl) + " cannot be read: " + std::strerror(errno), "check the disk");
  return at::from_blob(
      values, shape, [n_bytes](void* mapped) { ::munmap(mapped, n_bytes); }, at::kComplexFloat);
}

}  // namespace

CflFiles cfl_files(const fs::path& path) {
  fs::path stem = path;
  if (ends_with(path, ".cfl") || ends_with(path, ".hdr")) stem.replace_extension();
  return {fs::path(stem.string() + ".cfl"), fs::path(stem.string() + ".hdr")};
}

at::Tensor read_cfl(const fs::path& path) {
  const CflFiles files = cfl_files(path);
  const Dimensions dims = read_dimensions(files.hdr);
  const std::vector<std::int64_t> shape = tensor_shape(dims, files.hdr);
  std::vector<std::int64_t> factors = shape;
  factors.push_back(8);
  const std::uint64_t promised = checked_product(factors, "a dimension of " + quoted_path(files.hdr));
  const std::uint64_t found = check_input_file(files.cfl);
  if (found != promised)
    throw Error(ErrorKind::kBadData,
                quoted_path(files.cfl) + " has " + std::to_string(found) + " bytes, its header promises " + std::to_string(promised),
                "copy both files again");
  const at::Tensor data = mapped_values(files.cfl, shape, static_cast<std::size_t>(promised));
  require_finite(data, quoted_path(files.cfl));
  return data;
}

void write_cfl(const fs::path& path, const at::Tensor& data) {
  if (data.dim() != 4)
    throw Error(ErrorKind::kInternal, "k-space to write has " + std::to_string(data.dim()) + " axes", "pass [slice, coil, ky, kx]");
  const CflFiles files = cfl_files(path);
  const at::Tensor values = data.detach().to(at::kCPU, at::kComplexFloat).resolve_conj().contiguous();
  Dimensions dims;
  dims.fill(1);
  dims[0] = values.size(3);
  dims[1] = values.size(2);
  dims[kCoil] = values.size(1);
  dims[kSlice] = values.size(0);
  std::string header = "# Dimensions\n";
  for (const std::int64_t size : dims) header += std::to_string(size) + " ";
  write_atomically(files.cfl, [&](const fs::path& temporary) {
    write_bytes(temporary, values.data_ptr(), static_cast<std::size_t>(values.numel()) * 8);
  });
  write_text_atomically(files.hdr, header + "\n");
}

}  // namespace postrec
