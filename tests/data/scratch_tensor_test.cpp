// Tensors in files without a name, and scans read into them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "full_disk.hpp"
#include "image_bytes.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/scratch_tensor.hpp"

namespace postrec::test {
namespace {

TEST(ScratchTensor, IsZeroAndHasNoName) {
  const TempFolder folder;
  const at::Tensor tensor = scratch_tensor(folder.path(), {3, 5, 7}, at::kFloat);
  EXPECT_TRUE(tensor.equal(at::zeros({3, 5, 7})));
  tensor[1].fill_(2.5);
  EXPECT_EQ(tensor.sum().item<float>(), 35 * 2.5f);
  EXPECT_TRUE(folder.names().empty());
  const at::Tensor other = scratch_tensor(folder.path(), {3, 5, 7}, at::kFloat);
  EXPECT_TRUE(other.eq(0).all().item<bool>());
  EXPECT_TRUE(scratch_tensor({}, {2, 3}, at::kComplexFloat).equal(at::zeros({2, 3}, at::kComplexFloat)));
}

TEST(ScratchTensor, AFullDiskIsSaidAtOnce) {
  const TempFolder folder;
  const FullDisk disk(1 << 20);
  EXPECT_NO_THROW(scratch_tensor(folder.path(), {1 << 18}, at::kFloat));
  expect_error(ErrorKind::kInputOutput, {"no room for 2 MiB", "free disk space"}, [&] { scratch_tensor(folder.path(), {(1 << 18) + 1}, at::kFloat); });
  EXPECT_TRUE(folder.names().empty());
}

TEST(ScratchTensor, AFolderThatIsNotThere) {
  const TempFolder folder;
  expect_error(ErrorKind::kCannotCreate, {"none"}, [&] { scratch_tensor(folder / "none", {3}, at::kFloat); });
}

TEST(ScratchTensor, ScansAreTheSameThere) {
  const TempFolder folder, scratch;
  for (const auto& sample : write_samples(folder, oblique())) {
    const Scan scan = read_scan(sample.main, {.scratch = scratch.path()});
    EXPECT_TRUE(scan.image.pixels.flatten().equal(at::tensor(voxels()))) << sample.name;
    EXPECT_TRUE(scratch.names().empty()) << sample.name;
    const FullDisk disk(kNx * kNy * kNz * sizeof(float));  // its header does not fit beside the pixels
    expect_error(ErrorKind::kInputOutput, {"no room"}, [&] { read_scan(sample.main, {.scratch = scratch.path()}); });
  }
}

// Larger than what ITK is asked for at once, 64 MiB: read in two parts, packed or not.
TEST(ScratchTensor, ALargeScanIsReadInParts) {
  constexpr std::int64_t kN = 512, kSlices = 137;
  const at::Tensor pixels = (at::arange(kSlices * kN * kN, at::kInt).remainder(30011) - 15000).to(at::kShort);
  const std::string raw(static_cast<const char*>(pixels.data_ptr()), static_cast<std::size_t>(pixels.numel()) * 2);
  ASSERT_GT(raw.size(), std::size_t{64} << 20);
  std::string header = nifti_bytes(oblique()).substr(0, 352);
  for (const auto& [offset, value] : {std::pair{42, kN}, {44, kN}, {46, kSlices}, {70, std::int64_t{4}}, {72, std::int64_t{16}}})
    put<std::int16_t>(header, static_cast<std::size_t>(offset), static_cast<std::int16_t>(value));
  std::string meta = meta_header(oblique(), "", "LOCAL");
  meta.replace(meta.find("DimSize = 7 5 3"), 15, "DimSize = 512 512 137");
  meta.replace(meta.find("MET_FLOAT"), 9, "MET_SHORT");
  const TempFolder folder;
  write_bytes_to(folder / "a.nii", header + raw);
  write_bytes_to(folder / "b.nii.gz", deflated(header + raw, kGzip));
  write_bytes_to(folder / "c.mha", meta + raw);
  for (const char* name : {"a.nii", "b.nii.gz", "c.mha"})
    EXPECT_TRUE(read_scan(folder / name, {.scratch = folder.path()}).image.pixels.flatten().equal(pixels.to(at::kFloat))) << name;
}

// Against sorting, for sizes that are not whole blocks and values of all magnitudes.
TEST(MagnitudePercentile, IsThatOfTheSortedValues) {
  for (const std::int64_t n : {1, 2, 200, 201, 65537, (1 << 20) + 3}) {
    const at::Tensor x = at::sin(at::arange(n, at::kFloat) * 12.9898f) * at::exp(10 * at::cos(at::arange(n, at::kFloat) * 78.233f));
    std::vector<float> sorted(x.data_ptr<float>(), x.data_ptr<float>() + n);
    for (float& value : sorted) value = std::abs(value);
    std::sort(sorted.begin(), sorted.end());
    const double rank = 0.995 * static_cast<double>(n - 1);
    const auto below = static_cast<std::size_t>(rank);
    const double low = sorted[below], high = sorted[std::min<std::size_t>(below + 1, sorted.size() - 1)];
    EXPECT_EQ(magnitude_percentile(x), low + (rank - std::floor(rank)) * (high - low)) << n;
  }
  EXPECT_EQ(magnitude_percentile(at::zeros({11})), 0.0);
  expect_error(ErrorKind::kBadData, {"not finite"}, [] { magnitude_percentile(at::tensor({1.0f, std::numeric_limits<float>::infinity()})); });
}

}  // namespace
}  // namespace postrec::test
