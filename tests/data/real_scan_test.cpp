// The optional real scans beside the checkout. Nothing here is needed to build or to pass.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "files.hpp"
#include "image_bytes.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"

namespace postrec::test {
namespace {

const fs::path kData = POSTREC_TEST_DATA;

#define NEEDS(relative)                     \
  const fs::path path = kData / (relative); \
  if (!fs::exists(path)) GTEST_SKIP() << "the optional real scan " << (relative) << " is not here"

TEST(RealScan, CtSeriesInJpeg2000) {
  NEEDS("dicom/ct_body_jpeg2000");
  const Scan scan = read_scan(path);
  EXPECT_EQ(scan.image.pixels.size(0), 20);
  EXPECT_EQ(scan.modality, "CT");
  EXPECT_EQ(scan.image.unit, IntensityUnit::kHounsfield);
  // A body in air: air is about -1000 HU, soft tissue between 0 and 100 HU is there.
  EXPECT_LE(scan.image.pixels.min().item<float>(), -990.0f);
  EXPECT_GT(((scan.image.pixels > 0) & (scan.image.pixels < 100)).to(at::kFloat).mean().item<float>(), 0.02f);
  ScanOptions options;
  options.slice = 7;
  EXPECT_TRUE(read_scan(path, options).image.pixels.equal(scan.image.pixels.slice(0, 7, 8)));
}

TEST(RealScan, MrSeriesWithoutASliceIsRefusedAndItsWholePartRead) {
  NEEDS("dicom/mr_t1_series");
  // IM0115 is not in this copy.
  expect_error(ErrorKind::kBadData, {"1 slice(s) are missing"}, [&] { read_scan(path); });
  const TempFolder folder;
  int n = 0;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().filename() < "IM0115") {
      fs::create_symlink(fs::canonical(entry.path()), folder / entry.path().filename().string());
      ++n;
    }
  const Scan scan = read_scan(folder.path());
  EXPECT_EQ(scan.image.pixels.sizes(), (at::IntArrayRef{n, 1, 192, 192}));
  EXPECT_EQ(scan.modality, "MR");
  EXPECT_NEAR(scan.image.geometry.spacing_mm[2], 1.0, 1e-3);
}

TEST(RealScan, SingleDicomFiles) {
  NEEDS("dicom/single");
  for (const auto& entry : fs::directory_iterator(path)) {
    const Scan scan = read_scan(entry.path());
    EXPECT_EQ(scan.image.pixels.size(0), 1) << entry.path();
    EXPECT_GT(scan.image.pixels.std().item<float>(), 1.0f) << entry.path();
  }
  // JPEG 2000 without loss: the padding of -2000 comes out exactly, and is air; what was measured ends at -1024.
  const at::Tensor lossless = read_scan(path / "693_J2KR.dcm").image.pixels;
  EXPECT_EQ(lossless.min().item<float>(), -1024.0f);
  // The same image after a strong lossy compression, stored without one: inside of the padding, which is not exact and stays, alike, and on the same scale.
  const at::Tensor lossy = read_scan(path / "693_UNCI.dcm").image.pixels;
  EXPECT_LT(lossy.min().item<float>(), -3000.0f);
  const auto inside = [](const at::Tensor& image) { return image.slice(-2, image.size(-2) / 4, -image.size(-2) / 4).slice(-1, image.size(-1) / 4, -image.size(-1) / 4).flatten(); };
  // .97: what the compression took; .99 with the padding, which dwarfs it.
  EXPECT_GT(at::corrcoef(at::stack({inside(lossless), inside(lossy)}))[0][1].item<float>(), 0.96f);
  EXPECT_NEAR(inside(lossless).mean().item<float>(), inside(lossy).mean().item<float>(), 10.0f);
  expect_error(ErrorKind::kBadData, {"DICOM series"}, [&] { read_scan(path); });
}

TEST(RealScan, EveryNiftiVolumeSurvivesARoundTrip) {
  NEEDS("mr_brain_multicontrast/val");
  const TempFolder folder;
  int n = 0;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (n++ == 2) break;
    const Scan scan = read_scan(entry.path());
    write_nifti(folder / "copy.nii", scan.image);
    const Scan copy = read_scan(folder / "copy.nii");
    EXPECT_TRUE(copy.image.pixels.equal(scan.image.pixels)) << entry.path();
    EXPECT_LT(corner_distance_mm(copy.image.geometry, scan.image.geometry, static_cast<int>(scan.image.pixels.size(3)),
                                 static_cast<int>(scan.image.pixels.size(2)), static_cast<int>(scan.image.pixels.size(0))),
              1e-4);
  }
  EXPECT_GT(n, 0);
}

TEST(RealScan, MultiCoilKspace) {
  NEEDS("kspace_cfl");
  EXPECT_EQ(read_cfl(path / "brain8ch_smallfov").sizes(), (at::IntArrayRef{1, 8, 168, 320}));
  EXPECT_EQ(read_cfl(path / "brain8ch_und2x2.cfl").sizes(), (at::IntArrayRef{1, 8, 180, 230}));
}

}  // namespace
}  // namespace postrec::test
