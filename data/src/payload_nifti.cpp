// NIfTI-1, one file. [https://nifti.nimh.nih.gov/nifti-1]
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>

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

using Placement = std::array<std::array<double, 4>, 3>;

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
    for (int d = 1; d <= std::min(n_dims, 3); ++d) require_spacing(path_, pixdim(d - 1), d);
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

  /// Voxel (i, j, k) to mm by the quaternion, method 2 of the standard, or by the affine matrix, method 3: rows of 4. Nothing where the code is 0.
  std::optional<Placement> qform() const {
    if (at<std::int16_t>(252) <= 0) return std::nullopt;
    const double b = at<float>(256), c = at<float>(260), d = at<float>(264), a = std::sqrt(std::max(0.0, 1.0 - b * b - c * c - d * d));
    const double rotation[3][3] = {{a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
                                   {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
                                   {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b}};
    const double z_sign = at<float>(76) < 0.0f ? -1.0 : 1.0;
    Placement result{};
    for (std::size_t row = 0; row < 3; ++row) {
      for (std::size_t axis = 0; axis < 3; ++axis) result[row][axis] = rotation[row][axis] * pixdim(axis) * (axis == 2 ? z_sign : 1.0);
      result[row][3] = at<float>(268 + 4 * row);
    }
    return result;
  }
  std::optional<Placement> sform() const {
    if (at<std::int16_t>(254) <= 0) return std::nullopt;
    Placement result{};
    for (std::size_t row = 0; row < 3; ++row)
      for (std::size_t column = 0; column < 4; ++column) result[row][column] = at<float>(280 + 16 * row + 4 * column);
    return result;
  }

  double pixdim(std::size_t axis) const { return at<float>(80 + 4 * axis); }

  double mm_per_unit() const {
    const int unit = at<std::int8_t>(123) & 7;
    return unit == 1 ? 1000.0 : unit == 3 ? 0.001 : 1.0;
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

ByteReader open_nifti(const std::filesystem::path& path) { return ByteReader(path, ends_with(path, ".gz") ? Packing::kDeflate : Packing::kNone); }

NiftiHeader read_header(const std::filesystem::path& path) { return NiftiHeader(path, open_nifti(path).read(kHeaderBytes)); }

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
  ByteReader reader = open_nifti(path);
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

NiftiPlacement nifti_placement(const std::filesystem::path& path) {
  const NiftiHeader header = read_header(path);
  const auto q = header.qform(), s = header.sform();
  if (!q || !s) return {q || s, 0.0};
  std::vector<std::int64_t> sizes = header.sizes();
  sizes.resize(3, 1);
  double farthest = 0.0;
  for (int corner = 0; corner < 8; ++corner) {
    double square = 0.0;
    for (std::size_t row = 0; row < 3; ++row) {
      double apart = (*q)[row][3] - (*s)[row][3];
      for (std::size_t axis = 0; axis < 3; ++axis)
        if (corner >> axis & 1) apart += ((*q)[row][axis] - (*s)[row][axis]) * static_cast<double>(sizes[axis] - 1);
      square += apart * apart;
    }
    farthest = std::max(farthest, std::sqrt(square));
  }
  return {true, farthest * header.mm_per_unit()};
}

std::string nifti_sform_fault(const std::filesystem::path& path) {
  const NiftiHeader header = read_header(path);
  const auto s = header.sform();
  if (header.qform() || !s) return {};
  constexpr double kRounding = 1e-4;
  const auto dot = [&](std::size_t a, std::size_t b) { return (*s)[0][a] * (*s)[0][b] + (*s)[1][a] * (*s)[1][b] + (*s)[2][a] * (*s)[2][b]; };
  std::ostringstream fault;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double length = std::sqrt(dot(axis, axis)), spacing = header.pixdim(axis);
    if (std::abs(length - spacing) <= kRounding * spacing) continue;
    fault << "its sform makes steps of " << length << " along axis " << axis + 1 << ", where pixdim says " << spacing;
    return fault.str();
  }
  for (const auto& [a, b] : {std::pair<std::size_t, std::size_t>{0, 1}, {0, 2}, {1, 2}}) {
    const double cosine = dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
    if (std::abs(cosine) <= kRounding) continue;
    fault << "its sform is sheared: axes " << a + 1 << " and " << b + 1 << " meet at " << std::acos(cosine) * 180.0 / M_PI << " degrees";
    return fault.str();
  }
  return {};
}

double nifti_mm_per_unit(const std::filesystem::path& path) {
  return read_header(path).mm_per_unit();
}

}  // namespace postrec
