#include "mri_fourier/espirit.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "expect_error.hpp"
#include "law_checks.hpp"
#include "temp_folder.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

at::Tensor centred_dft(const at::Tensor& x, bool forward) {
  const std::vector<std::int64_t> axes = {1, 2};
  const at::Tensor shifted = at::fft_ifftshift(x, axes);
  return at::fft_fftshift(forward ? at::fft_fft2(shifted, c10::nullopt, axes, "ortho") : at::fft_ifft2(shifted, c10::nullopt, axes, "ortho"), axes);
}

at::Tensor energy(const at::Tensor& maps) { return maps.abs().square().sum(0); }

at::Tensor scalar_product(const at::Tensor& a, const at::Tensor& b) { return (a * b.conj()).sum(0); }

/// Distance over the coils of two maps in each pixel, whatever the phase of the pixel.
at::Tensor distance(const at::Tensor& a, const at::Tensor& b) { return (energy(a) + energy(b) - 2 * scalar_product(a, b).abs()).clamp_min(0).sqrt(); }

/// Coils of sensitivities with one wave in each direction, and an object of an odd shape with an edge.
struct Scene {
  at::Tensor maps;    ///< [coil, H, W], energy 1
  at::Tensor object;  ///< boolean [H, W]
  at::Tensor kspace;
};

Scene make_scene(std::int64_t n_coils, std::int64_t height, std::int64_t width) {
  const at::Tensor y = ((at::arange(height, at::kDouble) - height / 2) / static_cast<double>(height)).unsqueeze(1);
  const at::Tensor x = ((at::arange(width, at::kDouble) - width / 2) / static_cast<double>(width)).unsqueeze(0);
  std::vector<at::Tensor> maps;
  for (std::int64_t c = 0; c < n_coils; ++c) {
    const double angle = 2 * M_PI * static_cast<double>(c) / static_cast<double>(n_coils);
    const at::Tensor magnitude = 1.2 + at::cos(2 * M_PI * y - angle) * at::cos(M_PI * x) + 0.5 * at::sin(2 * M_PI * x + 2 * angle);
    maps.push_back(at::polar(magnitude, 2 * M_PI * (0.4 * y * std::cos(angle) + 0.3 * x) + angle));
  }
  Scene scene;
  scene.maps = at::stack(maps);
  scene.maps = scene.maps / energy(scene.maps).sqrt();
  scene.object = ((y - 0.05).square() / 0.12 + (x + 0.02).square() / 0.09).lt(1).logical_or((y + 0.3).square().lt(0.01).logical_and(x.abs().lt(0.2)));
  const at::Tensor image = at::complex(scene.object * (1 + 0.5 * at::cos(9 * x + 5 * y)), scene.object * 0.3 * at::sin(11 * y));
  scene.kspace = centred_dft(scene.maps * image, true).to(at::kComplexFloat);
  scene.maps = scene.maps.to(at::kComplexFloat);
  return scene;
}

TEST(Espirit, FindsKnownSmoothMaps) {
  const Scene scene = make_scene(5, 73, 60);
  const CalibrationRegion region = find_calibration_region(at::ones({73, 60}, at::kBool));
  ASSERT_EQ(region.height, 24);
  ASSERT_EQ(region.width, 24);
  const at::Tensor maps = espirit_maps(scene.kspace, region);
  ASSERT_EQ(maps.sizes(), scene.maps.sizes());
  const at::Tensor error = distance(maps, scene.maps).masked_select(scene.object);
  // 24x24 samples of an object with edges, and the share 0.001 of the energy that the threshold gives up.
  EXPECT_LT(error.mean().item<double>(), 0.01);
  EXPECT_LT(error.max().item<double>(), 0.1);
  const at::Tensor sizes = energy(maps);
  EXPECT_TRUE(sizes.eq(0).logical_or((sizes - 1).abs().lt(1e-4)).all().item<bool>());
  EXPECT_TRUE(sizes.masked_select(scene.object).gt(0).all().item<bool>());
  EXPECT_LT(sizes.gt(0).sum().item<double>(), 0.9 * 73 * 60) << "air should see nothing";
}

TEST(Espirit, OnlyTheCalibrationRegionCounts) {
  const Scene scene = make_scene(4, 64, 64);
  at::Tensor mask = at::zeros({64, 64}, at::kBool);
  mask.slice(0, 0, 64, 2).fill_(true);
  mask.narrow(0, 32 - 9, 18).fill_(true);
  const CalibrationRegion region = find_calibration_region(mask);
  EXPECT_EQ(region.first_row, 23);
  EXPECT_EQ(region.height, 18);
  EXPECT_EQ(region.width, 24);
  EXPECT_TRUE(at::equal(espirit_maps(scene.kspace * mask, region), espirit_maps(scene.kspace, region)));
}

TEST(Espirit, ThePhaseIsThatOfTheFirstVirtualCoil) {
  const Scene scene = make_scene(4, 64, 64);
  const CalibrationRegion region = find_calibration_region(at::ones({64, 64}, at::kBool));
  const at::Tensor maps = espirit_maps(scene.kspace, region);
  const at::Tensor samples = scene.kspace.narrow(1, region.first_row, 24).narrow(2, region.first_column, 24).flatten(1);
  const at::Tensor coil = std::get<0>(at::linalg_svd(samples)).select(1, 0).view({4, 1, 1});
  const at::Tensor seen = scalar_product(maps, coil.expand_as(maps)).masked_select(scene.object);
  // One phase for all pixels, which the choice of the singular vector leaves open.
  const at::Tensor phase = seen.sum() / seen.sum().abs();
  EXPECT_LT((seen / phase - seen.abs()).abs().max().item<double>(), 1e-4);
}

TEST(Espirit, TheSameBitsWhateverTheThreads) {
  const Scene scene = make_scene(4, 64, 64);
  const CalibrationRegion region = find_calibration_region(at::ones({64, 64}, at::kBool));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = espirit_maps(scene.kspace, region);
  at::set_num_threads(3);
  const at::Tensor three = espirit_maps(scene.kspace, region);
  EXPECT_EQ(at::get_num_threads(), 3);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, three));
}

TEST(Espirit, TheRegionGrowsAroundDcAsFarAsEverythingIsThere) {
  at::Tensor mask = at::zeros({20, 31}, at::kBool);
  EXPECT_EQ(find_calibration_region(mask).height, 0);
  mask.narrow(0, 3, 14).narrow(1, 10, 12).fill_(true);  // rows 3..16 around 10, columns 10..21 around 15
  const CalibrationRegion region = find_calibration_region(mask);
  EXPECT_EQ(region.first_row, 3);
  EXPECT_EQ(region.height, 14);
  EXPECT_EQ(region.first_column, 10);
  EXPECT_EQ(region.width, 11);
  const CalibrationRegion all = find_calibration_region(at::ones({20, 31}, at::kBool));
  EXPECT_EQ(all.height, 20);
  EXPECT_EQ(all.width, 24);
}

TEST(Espirit, RefusesWhatHoldsTooLittle) {
  const Scene scene = make_scene(3, 40, 40);
  test::expect_error(ErrorKind::kBadData, "is 8x24; coil sensitivities need 12x12", [&] { espirit_maps(scene.kspace, {16, 8, 8, 24}); });
  test::expect_error(ErrorKind::kBadData, "no signal", [&] { espirit_maps(at::zeros_like(scene.kspace), {8, 8, 24, 24}); });
}

/// complex64 [coil, n, n] of a .cfl file.
at::Tensor read_square(const fs::path& path, std::int64_t n_coils, std::int64_t n) {
  at::Tensor data = at::zeros({n_coils, n, n}, at::kComplexFloat);
  std::ifstream file(path, std::ios::binary);
  file.read(static_cast<char*>(data.data_ptr()), data.numel() * 8);
  EXPECT_EQ(file.gcount(), data.numel() * 8);
  return data;
}

TEST(Espirit, AgreesWithBart) {
  if (std::system("command -v bart >/dev/null 2>&1") != 0) GTEST_SKIP() << "the program 'bart' is not installed";
  constexpr std::int64_t kCoils = 8, kN = 128;
  const test::TempFolder folder;
  // -O: eigenvectors by LAPACK. Without it BART stops after 30 power iterations, not yet at the eigenvector where the second eigenvalue is near.
  ASSERT_EQ(
      std::system(
          ("cd '" + folder.path().string() +
           "' && export OMP_NUM_THREADS=1 && bart phantom -k -s8 -x128 k >/dev/null && bart ecalib -O -m1 k m >/dev/null && bart ecalib -m1 k p >/dev/null")
              .c_str()),
      0);
  const at::Tensor kspace = read_square(folder / "k.cfl", kCoils, kN), exact = read_square(folder / "m.cfl", kCoils, kN),
                   iterated = read_square(folder / "p.cfl", kCoils, kN);
  const at::Tensor maps = espirit_maps(kspace, find_calibration_region(at::ones({kN, kN}, at::kBool)));
  const at::Tensor picture = energy(centred_dft(kspace, false)).sqrt();
  const at::Tensor object = picture.gt(0.1 * picture.max());
  // One global phase: that of an eigenvector is LAPACK's choice.
  const auto same_phase = [&](const at::Tensor& bart) {
    const at::Tensor product = scalar_product(maps, bart).sum();
    return bart * (product / product.abs());
  };
  EXPECT_LT((maps - same_phase(exact)).abs().amax(0).masked_select(object).max().item<double>(), 0.01);
  // The default of BART differs at about 60 of 6500 pixels.
  EXPECT_LT((maps - same_phase(iterated)).abs().amax(0).masked_select(object).gt(0.01).to(at::kFloat).mean().item<double>(), 0.02);
  EXPECT_LT(energy(maps).gt(0).ne(energy(exact).gt(0)).to(at::kFloat).sum().item<double>(), 10) << "pixels at the crop";
}

}  // namespace
}  // namespace postrec
