// NIfTI-1, one file. [https://nifti.nimh.nih.gov/nifti-1]
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "byte_reader.hpp"
#include "payload.hpp"
#include "postrec/error.hpp"
#include "require_finite.hpp"

namespace postrec {

namespace {

constexpr std::size_t kHeaderBytes = 348;
constexpr std::size_t kBlock = 1 << 18;
constexpr int kFloat32 = 16, kFloat64 = 64;

/// Bits per voxel of the data types that are read.
const std::map<int, int> kBitsOfType = {{2, 8},    {4, 16},  {8, 32},   {16, 32},  {32, 64},   {64, 64},
                                        {128, 24}, {256, 8}, {512, 16}, {768, 32}, {1024, 64}, {1280, 64}};

class NiftiHeader {
 public:
  NiftiHeader(const std::filesystem::path& path, std::string bytes) : path_(path), bytes_(std::move(bytes)) {
    if (bytes_.size() < kHeaderBytes)
      throw Error(ErrorKind::kBadData, quoted_path(path) + " is truncated: a NIfTI header has 348 bytes", "copy the file again");
    swapped_ = at<std::int32_t>(0) != 348;
    if (at<std::int32_t>(0) != 348 || bytes_.compare(344, 4, std::string("n+1\0", 4)) != 0)
      throw Error(ErrorKind::kBadData, quoted_path(path) + " is not a NIfTI-1 file in one piece",
                  "convert it to NIfTI-1 (.nii or .nii.gz)");
  }

  template <class T>
  T at(std::size_t offset) const {
    char raw[sizeof(T)];
    std::memcpy(raw, bytes_.data() + offset, sizeof(T));
    if (swapped_) std::reverse(raw, raw + sizeof(T));
    T value;
    std::memcpy(&value, raw, sizeof(T));
    return value;
  }

  /// Bytes up to where the voxels begin.
  std::uint64_t offset() const {
    const float offset = at<float>(108);
    if (!(offset >= 352.0f && offset <= 1e9f) || offset != std::floor(offset))
      refuse("has vox_offset " + std::to_string(offset), "it is at least 352");
    return static_cast<std::uint64_t>(offset);
  }

  std::vector<std::int64_t> sizes() const {
    const int n_dims = at<std::int16_t>(40);
    if (n_dims < 1 || n_dims > 7) refuse("has " + std::to_string(n_dims) + " dimensions", "NIfTI has 1 to 7");
    std::vector<std::int64_t> sizes;
    for (int d = 1; d <= n_dims; ++d) sizes.push_back(at<std::int16_t>(40 + 2 * d));
    for (int d = 1; d <= std::min(n_dims, 3); ++d) require_spacing(path_, at<float>(76 + 4 * d), d);
    return sizes;
  }

  /// ITK's NIfTI library turns matrices that are not finite, or whose determinant is not, for a minute and more.
  void require_placement() const {
    constexpr float kFarthest = 1e9f;
    const auto require = [&](std::size_t code, std::size_t begin, std::size_t end) {
      for (std::size_t offset = begin; at<std::int16_t>(code) > 0 && offset < end; offset += 4)
        if (!(std::abs(at<float>(offset)) < kFarthest))
          refuse("has a position or orientation (qform, sform) that is not finite or beyond any scanner", "repair the header");
    };
    require(252, 256, 280);
    require(254, 280, 328);
  }

  std::uint64_t n_voxels() const { return checked_product(sizes(), "an image size (dim) of " + quoted_path(path_)); }

  std::int64_t bytes_per_voxel() const {
    const auto type = kBitsOfType.find(data_type());
    if (type == kBitsOfType.end() || type->second != at<std::int16_t>(72))
      refuse("has data type " + std::to_string(data_type()) + " with " + std::to_string(at<std::int16_t>(72)) + " bits",
             "convert it to float32 or int16");
    if (!std::isfinite(at<float>(112)) || !std::isfinite(at<float>(116)))
      refuse("has a scale (scl_slope, scl_inter) that is not finite", "repair the header");
    return type->second / 8;
  }

  int data_type() const { return at<std::int16_t>(70); }
  bool swapped() const { return swapped_; }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& hint) const {
    throw Error(ErrorKind::kBadData, quoted_path(path_) + " " + what, hint);
  }

  std::filesystem::path path_;
  std::string bytes_;
  bool swapped_ = false;
};

struct NotFinite {
  std::uint64_t n = 0;
  std::uint64_t first = 0;
};

/// Looks for floats or doubles that are not finite among the next n_bytes: ITK's NIfTI library turns those into 0 without a word.
template <class T>
NotFinite find_not_finite(ByteReader& reader, bool swapped, std::uint64_t n_bytes) {
  NotFinite found;
  for (std::uint64_t index = 0, left = n_bytes; left > 0;) {
    std::string block = reader.read(static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, left)));
    if (block.empty()) break;
    left -= block.size();
    for (std::size_t at = 0; at + sizeof(T) <= block.size(); at += sizeof(T), ++index) {
      if (swapped) std::reverse(block.data() + at, block.data() + at + sizeof(T));
      T value;
      std::memcpy(&value, block.data() + at, sizeof(T));
      if (!std::isfinite(value) && found.n++ == 0) found.first = index;
    }
  }
  return found;
}

}  // namespace

std::uint64_t check_nifti_payload(const std::filesystem::path& path) {
  check_input_file(path);
  ByteReader reader(path, ends_with(path, ".gz") ? Packing::kDeflate : Packing::kNone);
  const NiftiHeader header(path, reader.read(kHeaderBytes));
  header.require_placement();
  const std::uint64_t n_bytes =
      checked_product({static_cast<std::int64_t>(header.n_voxels()), header.bytes_per_voxel()}, "the size of " + quoted_path(path));
  reader.read(header.offset() - kHeaderBytes);
  NotFinite not_finite_voxels;
  if (header.data_type() == kFloat32) not_finite_voxels = find_not_finite<float>(reader, header.swapped(), n_bytes);
  if (header.data_type() == kFloat64) not_finite_voxels = find_not_finite<double>(reader, header.swapped(), n_bytes);
  const std::uint64_t promised = header.offset() + n_bytes;
  require_payload_size(path, promised, reader.size_up_to(promised));
  if (not_finite_voxels.n == 0) return n_bytes;

  std::vector<std::int64_t> sizes = header.sizes();
  sizes.resize(3, 1);
  const std::uint64_t nx = sizes[0], ny = sizes[1], nz = sizes[2], first = not_finite_voxels.first;
  throw not_finite(quoted_path(path), not_finite_voxels.n, {first / (nx * ny) % nz, first / (nx * ny * nz), first / nx % ny, first % nx});
}

}  // namespace postrec
