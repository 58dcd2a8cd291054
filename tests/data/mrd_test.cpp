#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <limits>

#include "files.hpp"
#include "mrd_files.hpp"
#include "mrd_kspace.hpp"
#include "postrec/data/raw_kspace.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSlices = 3, kCoils = 2, kRows = 14, kColumns = 11;  // no two alike: a swap of axes does not fit

at::Tensor noise(std::uint64_t seed, const std::vector<std::int64_t>& shape) { return RandomStreams(seed, 0, 1).normal(0, shape, at::kComplexFloat)[0]; }

at::Tensor centred_dft(const at::Tensor& x, std::int64_t axis, bool forward) {
  const at::Tensor shifted = at::fft_ifftshift(x, axis);
  return at::fft_fftshift(forward ? at::fft_fft(shifted, c10::nullopt, axis, "ortho") : at::fft_ifft(shifted, c10::nullopt, axis, "ortho"), axis);
}

/// As the scanner measures it with `oversampling` times the field of view in readout direction: the object is in the middle.
at::Tensor oversampled(const at::Tensor& kspace, std::int64_t n) {
  const at::Tensor image = centred_dft(kspace, 3, false);
  at::Tensor wide = at::zeros({kspace.size(0), kspace.size(1), kspace.size(2), n}, at::kComplexFloat);
  wide.narrow(3, n / 2 - kspace.size(3) / 2, kspace.size(3)).copy_(image);
  return centred_dft(wide, 3, true);
}

RawKspace unwhitened(const fs::path& path) { return read_raw_kspace(path, {.prewhiten = false}); }

at::Tensor mask_of(const RawKspace& raw) { return raw.measurement.parameters.tensor("mask"); }

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() ? (a - b).abs().max().item<double>() : 1e9; }

bool has_note(const RawKspace& raw, const std::string& text) {
  for (const auto& note : raw.notes)
    if (note.find(text) != std::string::npos) return true;
  return false;
}

TEST(Mrd, GivesBackKspaceOfEverySlice) {
  const TempFolder folder;
  const at::Tensor kspace = noise(1, {kSlices, kCoils, kRows, kColumns});
  MrdWriter(folder / "a.h5", kColumns, kRows).add_all(kspace);
  const RawKspace raw = unwhitened(folder / "a.h5");
  EXPECT_TRUE(at::equal(raw.measurement.y, kspace));
  EXPECT_EQ(raw.measurement.operator_name, "mri-fourier");
  EXPECT_EQ(raw.measurement.origin, MeasurementOrigin::kAcquired);
  EXPECT_EQ(mask_of(raw).sizes(), (at::IntArrayRef{kRows, kColumns}));
  EXPECT_TRUE(mask_of(raw).eq(1).all().item<bool>());
  EXPECT_EQ(raw.measurement.parameters.integer("coils"), kCoils);
  EXPECT_EQ(raw.measurement.sigma_y, 0.0);
  EXPECT_FALSE(raw.weights.defined());
}

TEST(Mrd, RemovesReadoutOversampling) {
  const TempFolder folder;
  const at::Tensor kspace = noise(2, {1, kCoils, kRows, kColumns});
  MrdOptions options;
  options.encoded_fov_mm = {400, 100};
  options.recon_fov_mm = {200, 100};
  MrdWriter(folder / "a.h5", 2 * kColumns, kRows, options).add_all(oversampled(kspace, 2 * kColumns));
  const RawKspace raw = unwhitened(folder / "a.h5");
  EXPECT_LT(largest_difference(raw.measurement.y, kspace), 1e-5);  // four transforms of 22 values of size 1 in float32
  EXPECT_EQ(mask_of(raw).sizes(), (at::IntArrayRef{kRows, kColumns}));
  EXPECT_NEAR(raw.measurement.geometry.spacing_mm[0], 200.0 / kColumns, 1e-5);
  // Noise outside of the field of view goes, noise inside keeps its variance: 12 000 values, so 5 standard deviations are 3 %.
  const at::Tensor white = noise(3, {1, kCoils, 60, 200});
  EXPECT_NEAR(without_oversampling(white, 3, 100).abs().square().mean().item<double>(), white.abs().square().mean().item<double>(), 0.03 * 2);
}

TEST(Mrd, LinesThatAreMissingOrZeroAreTheMask) {
  const TempFolder folder;
  at::Tensor kspace = noise(4, {kSlices, kCoils, kRows, kColumns});
  kspace.select(2, 3).zero_();
  kspace.select(2, 12).zero_();
  {
    MrdWriter writer(folder / "a.h5", kColumns, kRows);
    writer.add_all(kspace);
    writer.add(at::zeros({kCoils, kColumns}), 3);  // written by the scanner, but never measured
  }
  RawKspace raw = unwhitened(folder / "a.h5");
  EXPECT_TRUE(at::equal(raw.measurement.y, kspace));
  for (std::int64_t row = 0; row < kRows; ++row) EXPECT_EQ(mask_of(raw)[row].eq(row != 3 && row != 12).all().item<bool>(), true) << row;
  EXPECT_FALSE(raw.weights.defined());

  // Slices with masks of their own.
  kspace.select(2, 5)[1].zero_();
  MrdWriter(folder / "b.h5", kColumns, kRows).add_all(kspace);
  raw = unwhitened(folder / "b.h5");
  EXPECT_TRUE(at::equal(mask_of(raw), kspace.abs().amax(1, true).gt(0).to(at::kFloat)));
}

// Beyond the object some scanners write zeros.
TEST(Mrd, ASliceOfZerosIsSampledAsTheOthers) {
  const TempFolder folder;
  at::Tensor kspace = noise(10, {kSlices, kCoils, kRows, kColumns});
  kspace.select(2, 3).zero_();
  {
    MrdWriter writer(folder / "a.h5", kColumns, kRows);
    writer.add_all(kspace);
    for (std::int64_t line = 0; line < kRows; ++line) writer.add(at::zeros({kCoils, kColumns}), line, kSlices);
  }
  const RawKspace raw = unwhitened(folder / "a.h5");
  const at::Tensor mask = mask_of(raw);
  EXPECT_EQ(mask.dim(), 2);  // the same for all
  EXPECT_EQ(mask.sum().item<std::int64_t>(), (kRows - 1) * kColumns);
}

TEST(Mrd, AZeroAmongOthersWasMeasured) {
  const TempFolder folder;
  at::Tensor kspace = noise(27, {1, kCoils, kRows, kColumns});
  kspace.select(2, 4).select(2, 5).zero_();
  kspace.select(2, 4).narrow(2, 9, 2).zero_();
  MrdWriter(folder / "a.h5", kColumns, kRows).add_all(kspace);
  const at::Tensor row = mask_of(unwhitened(folder / "a.h5"))[4];
  EXPECT_TRUE(at::equal(row, at::arange(kColumns).lt(9).to(at::kFloat)));
}

TEST(Mrd, PartialFourierLiesAroundItsCentreLine) {
  const TempFolder folder;
  const at::Tensor kspace = noise(5, {1, kCoils, kRows, kColumns});
  MrdOptions options;
  options.edit_header = [](ISMRMRD::IsmrmrdHeader& header) { header.encoding[0].encodingLimits.kspace_encoding_step_1 = ISMRMRD::Limit(0, 9, 3); };
  {
    MrdWriter writer(folder / "a.h5", kColumns, kRows, options);
    for (std::int64_t line = 0; line < 10; ++line) writer.add(kspace[0].select(1, line), line);
  }
  const RawKspace raw = unwhitened(folder / "a.h5");
  EXPECT_EQ(mask_of(raw).select(1, 0).sum().item<double>(), 10.0);
  EXPECT_TRUE(at::equal(raw.measurement.y.select(2, kRows / 2), kspace.select(2, 3)));
  EXPECT_EQ(mask_of(raw)[kRows / 2 - 4][0].item<float>(), 0.0f);
}

TEST(Mrd, AnAsymmetricEchoKeepsItsOversampling) {
  const TempFolder folder;
  const at::Tensor kspace = noise(6, {1, kCoils, kRows, 16});
  MrdOptions options;
  options.encoded_fov_mm = {400, 100};
  {
    MrdWriter writer(folder / "a.h5", 22, kRows, options);
    writer.add_all(kspace, [](ISMRMRD::Acquisition& a) {
      a.center_sample() = 5;
      a.discard_pre() = 1;
    });
  }
  const RawKspace raw = unwhitened(folder / "a.h5");
  ASSERT_EQ(raw.measurement.y.sizes(), (at::IntArrayRef{1, kCoils, kRows, 22}));
  EXPECT_TRUE(has_note(raw, "asymmetric echo"));
  EXPECT_TRUE(at::equal(raw.measurement.y.narrow(3, 22 / 2 - 5 + 1, 15), kspace.narrow(3, 1, 15)));
  EXPECT_EQ(mask_of(raw).sum().item<double>(), 15.0 * kRows);
}

TEST(Mrd, AveragesAndCalibrationLines) {
  const TempFolder folder;
  const at::Tensor a = noise(7, {1, kCoils, kRows, kColumns}), b = noise(8, {1, kCoils, kRows, kColumns});
  {
    MrdWriter writer(folder / "twice.h5", kColumns, kRows);
    writer.add_all(a);
    writer.add_all(b, [](ISMRMRD::Acquisition& x) { x.idx().average = 1; });
  }
  RawKspace raw = unwhitened(folder / "twice.h5");
  EXPECT_LT(largest_difference(raw.measurement.y, (a + b) / 2), 1e-6);
  EXPECT_TRUE(raw.weights.eq(2).all().item<bool>());  // who says the noise says that of one measurement
  EXPECT_TRUE(has_note(raw, "mean of 2 measurements; --sigma-y and --noise-covariance are of one"));

  const auto with_calibration = [&](const std::string& name, const std::string& mode) {
    MrdOptions options;
    options.edit_header = [&](ISMRMRD::IsmrmrdHeader& header) {
      ISMRMRD::ParallelImaging parallel;
      parallel.accelerationFactor = {2, 1};
      parallel.calibrationMode = mode;
      header.encoding[0].parallelImaging = parallel;
    };
    MrdWriter writer(folder / name, kColumns, kRows, options);
    for (std::int64_t line = 0; line < kRows; line += 2) writer.add(a[0].select(1, line), line);
    for (std::int64_t line = 5; line < 9; ++line)
      writer.add(b[0].select(1, line), line, 0, [](ISMRMRD::Acquisition& x) { x.setFlag(ISMRMRD::ISMRMRD_ACQ_IS_PARALLEL_CALIBRATION); });
    return folder / name;
  };
  raw = unwhitened(with_calibration("embedded.h5", "embedded"));
  EXPECT_LT(largest_difference(raw.measurement.y.select(2, 6), (a.select(2, 6) + b.select(2, 6)) / 2), 1e-6);
  EXPECT_TRUE(at::equal(raw.measurement.y.select(2, 7), b.select(2, 7)));
  EXPECT_TRUE(at::equal(raw.measurement.y.select(2, 4), a.select(2, 4)));
  ASSERT_TRUE(raw.weights.defined());
  ASSERT_EQ(raw.weights.sizes(), raw.measurement.y.sizes());
  for (const auto& [row, count] : std::vector<std::pair<int, float>>{{1, 0}, {4, 1}, {5, 1}, {6, 2}, {7, 1}, {8, 2}, {9, 0}})
    EXPECT_EQ(raw.weights[0][1][row][2].item<float>(), count) << row;

  raw = unwhitened(with_calibration("separate.h5", "separate"));
  EXPECT_FALSE(raw.weights.defined());
  EXPECT_TRUE(has_note(raw, "4 calibration lines of a separate scan were left out"));
  EXPECT_EQ(mask_of(raw)[7][0].item<float>(), 0.0f);
}

TEST(Mrd, SlicesLieWhereTheirHeadersSay) {
  const TempFolder folder;
  const at::Tensor kspace = noise(9, {kSlices, kCoils, kRows, kColumns});
  // A coronal plane turned by 30 degrees about the readout; slices written in another order than they lie.
  const double c = std::cos(M_PI / 6), s = std::sin(M_PI / 6);
  const std::array<double, 3> read = {1, 0, 0}, phase = {0, s, -c}, normal = {0, c, s};  // read x phase
  const double heights[] = {2, 10, -6};
  const auto place = [&](ISMRMRD::Acquisition& a) {
    for (int i = 0; i < 3; ++i) {
      a.read_dir()[i] = static_cast<float>(read[i]);
      a.phase_dir()[i] = static_cast<float>(phase[i]);
      a.position()[i] = static_cast<float>(20 * read[i] - 7 * phase[i] + heights[a.idx().slice] * normal[i]);
    }
  };
  MrdWriter(folder / "a.h5", kColumns, kRows).add_all(kspace, place);
  const RawKspace raw = unwhitened(folder / "a.h5");
  const ImageGeometry& geometry = raw.measurement.geometry;
  EXPECT_TRUE(at::equal(raw.measurement.y, at::stack({kspace[2], kspace[0], kspace[1]})));
  EXPECT_NEAR(geometry.spacing_mm[0], 200.0 / kColumns, 1e-4);
  EXPECT_NEAR(geometry.spacing_mm[1], 100.0 / kRows, 1e-4);
  EXPECT_NEAR(geometry.spacing_mm[2], 8.0, 1e-4);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(geometry.direction[3 * i], read[i], 1e-6);
    EXPECT_NEAR(geometry.direction[3 * i + 1], phase[i], 1e-6);
    EXPECT_NEAR(geometry.direction[3 * i + 2], normal[i], 1e-6);
    // The pixel n/2 of the lowest slice is the position of its header.
    const double middle = geometry.origin_mm[i] + geometry.spacing_mm[0] * static_cast<double>(kColumns / 2) * read[i] +
                          geometry.spacing_mm[1] * static_cast<double>(kRows / 2) * phase[i];
    EXPECT_NEAR(middle, 20 * read[i] - 7 * phase[i] - 6 * normal[i], 1e-4);
  }

  MrdWriter(folder / "turned.h5", kColumns, kRows).add_all(kspace, [](ISMRMRD::Acquisition& a) {
    if (a.idx().slice == 2) std::swap(a.read_dir(), a.phase_dir());
  });
  expect_error(ErrorKind::kBadData, {"turned.h5", "turned against each other"}, [&] { unwhitened(folder / "turned.h5"); });

  MrdWriter(folder / "sheared.h5", kColumns, kRows).add_all(kspace, [&](ISMRMRD::Acquisition& a) {
    place(a);
    if (a.idx().slice == 1)
      for (int i = 0; i < 3; ++i) a.position()[i] += static_cast<float>(8 * phase[i]);
  });
  expect_error(ErrorKind::kBadData, {"sheared.h5", "shifted sideways", "8.0"}, [&] { unwhitened(folder / "sheared.h5"); });

  MrdWriter(folder / "apart.h5", kColumns, kRows).add_all(kspace, [&](ISMRMRD::Acquisition& a) {
    place(a);
    if (a.idx().slice == 1 && a.idx().kspace_encode_step_1 > 3)
      for (int i = 0; i < 3; ++i) a.position()[i] += static_cast<float>(15 * normal[i]);
  });
  expect_error(ErrorKind::kBadData, {"apart.h5", "readouts of slice 1", "15.0", "mm apart"}, [&] { unwhitened(folder / "apart.h5"); });
}

/// Noise of coils that share it: L n with complex n of unit variance in each real component.
const at::Tensor& mixing() {
  static const at::Tensor l = at::complex(at::tensor({3.0f, 0.0f, 1.0f, 0.5f}), at::tensor({0.0f, 0.0f, -2.0f, 0.0f})).view({2, 2});
  return l;
}

at::Tensor covariance_of(const at::Tensor& samples) { return samples.matmul(samples.conj().t()) / static_cast<double>(samples.size(1)); }

// Files of each slice, and --slice, count them as they lie.
TEST(Mrd, SlicesThatTheFileCountsOtherwiseAreTold) {
  const TempFolder folder;
  const at::Tensor kspace = noise(9, {kSlices, kCoils, kRows, kColumns});
  MrdWriter(folder / "up.h5", kColumns, kRows).add_all(kspace);
  MrdWriter(folder / "down.h5", kColumns, kRows).add_all(kspace, [](ISMRMRD::Acquisition& x) { x.position()[2] = -x.position()[2]; });
  EXPECT_FALSE(has_note(unwhitened(folder / "up.h5"), "another order"));
  const RawKspace down = unwhitened(folder / "down.h5");
  EXPECT_TRUE(has_note(down, "slice 0 is its " + std::to_string(kSlices) + ". one"));
  EXPECT_TRUE(at::equal(down.measurement.y.flip(0), kspace));
}

TEST(Mrd, ANoiseScanMakesTheNoiseWhite) {
  const TempFolder folder;
  constexpr std::int64_t kN = 64;
  const at::Tensor image_noise = at::matmul(mixing(), noise(10, {1, 2, kN * kN})).view({1, 2, kN, kN});
  {
    MrdOptions options;
    options.edit_header = [](ISMRMRD::IsmrmrdHeader& header) {
      ISMRMRD::AcquisitionSystemInformation system;
      system.relativeReceiverNoiseBandwidth = 0.8f;
      header.acquisitionSystemInformation = system;
    };
    MrdWriter writer(folder / "a.h5", kN, kN, options);
    // Sampled 4 times as fast and seen through 0.8 of the bandwidth, noise has 4 * 0.8 times the power of that of the image (5 us).
    const at::Tensor scan = at::matmul(mixing(), noise(11, {2, 20000})) * std::sqrt(4 * 0.8);
    writer.add_noise(scan, 5.0 / 4);
    writer.add_all(image_noise);
  }
  const RawKspace raw = read_raw_kspace(folder / "a.h5");
  EXPECT_EQ(raw.measurement.sigma_y, 1.0);
  EXPECT_NE(raw.sigma_y_source.find("noise scan"), std::string::npos);
  const at::Tensor found = covariance_of(raw.measurement.y[0].flatten(1));
  // E[n n^H] = 2 I; of 4096 samples here and 20000 there: 6 standard deviations of 2/sqrt(4096) (1 + .2).
  EXPECT_LT((found - 2 * at::eye(2)).abs().max().item<double>(), 0.22);
  EXPECT_GT((covariance_of(image_noise[0].flatten(1)) - 2 * at::eye(2)).abs().max().item<double>(), 3.0);

  EXPECT_FALSE(has_note(raw, "relative bandwidth"));
  {
    MrdWriter writer(folder / "silent.h5", kN, kN);
    writer.add_noise(at::matmul(mixing(), noise(11, {2, 20000})), 5.0);
    writer.add_all(image_noise);
  }
  EXPECT_TRUE(has_note(read_raw_kspace(folder / "silent.h5"), "relative bandwidth"));
}

TEST(Mrd, WithoutANoiseScanTheEdgeMakesItWhite) {
  const TempFolder folder;
  constexpr std::int64_t kN = 96;
  const at::Tensor image_noise = at::matmul(mixing(), noise(12, {1, 2, kN * kN})).view({1, 2, kN, kN});
  at::Tensor kspace = image_noise.clone();
  kspace.narrow(2, kN / 2 - 8, 16).narrow(3, kN / 2 - 8, 16).add_(1000.0);  // signal
  MrdWriter(folder / "a.h5", kN, kN).add_all(kspace);
  const RawKspace raw = read_raw_kspace(folder / "a.h5");
  EXPECT_EQ(raw.measurement.sigma_y, 1.0);
  EXPECT_NE(raw.sigma_y_source.find("outermost 5 %"), std::string::npos);
  const at::Tensor outside = raw.measurement.y.narrow(2, 0, 30)[0].reshape({2, -1});
  // 460 samples of the rim: 6 standard deviations of 2/sqrt(460) are .56.
  EXPECT_LT((covariance_of(outside) - 2 * at::eye(2)).abs().max().item<double>(), 0.56);
  EXPECT_FALSE(has_note(raw, "still holds signal"));

  // Signal in the rim is noticed, because it falls off.
  const at::Tensor k = at::arange(kN, at::kDouble) - kN / 2;
  const at::Tensor radius = (k.square().unsqueeze(1) + k.square() + 1).sqrt();
  MrdWriter(folder / "signal.h5", kN, kN).add_all(noise(13, {1, 2, kN, kN}) * 1e4 / radius.pow(1.5) + image_noise);
  EXPECT_TRUE(has_note(read_raw_kspace(folder / "signal.h5"), "still holds signal"));
}

// Whatever lies beyond the object, the noise of the others is white, and weights are of something.
TEST(Mrd, ASliceOfZerosChangesNothingForTheOthers) {
  const TempFolder folder;
  constexpr std::int64_t kN = 64;
  const at::Tensor kspace = at::matmul(mixing(), noise(12, {3, 2, kN * kN})).view({3, 2, kN, kN});
  const auto add_all_and_zeros = [&](MrdWriter& writer) {
    writer.add_all(kspace.narrow(0, 0, 2));
    for (std::int64_t line = 0; line < kN; ++line) writer.add(at::zeros({2, kN}), line, 2);
  };
  MrdWriter(folder / "two.h5", kN, kN).add_all(kspace.narrow(0, 0, 2));
  {
    MrdWriter writer(folder / "zeros.h5", kN, kN);
    add_all_and_zeros(writer);
  }
  const RawKspace two = read_raw_kspace(folder / "two.h5"), zeros = read_raw_kspace(folder / "zeros.h5");
  EXPECT_EQ(zeros.measurement.sigma_y, 1.0);
  EXPECT_TRUE(at::equal(zeros.measurement.y.narrow(0, 0, 2), two.measurement.y));
  {
    MrdWriter writer(folder / "averages.h5", kN, kN);
    add_all_and_zeros(writer);
    for (std::int64_t line = 0; line < 10; ++line) writer.add(kspace[0].select(1, line), line, 0);
  }
  const RawKspace averages = read_raw_kspace(folder / "averages.h5");
  ASSERT_TRUE(averages.weights.defined());
  EXPECT_GT(averages.weights[0].max().item<double>(), 1.0);
  EXPECT_TRUE(averages.weights[2].eq(1).all().item<bool>());
}

// A receiver that is switched off, and one that amplifies two thousand times less, are no reason to leave the others' noise as it is.
TEST(Mrd, ADeadCoilIsLeftOutAndAWeakOneMadeWhite) {
  const TempFolder folder;
  constexpr std::int64_t kN = 64;
  const at::Tensor gains = at::tensor({1.0, 0.0, 5e-4}).view({3, 1});
  const at::Tensor kspace = (gains * noise(50, {3, kN * kN})).view({1, 3, kN, kN});
  for (const bool scan : {true, false}) {
    {
      MrdWriter writer(folder / (scan ? "scan.h5" : "none.h5"), kN, kN);
      if (scan) writer.add_noise(gains * noise(51, {3, 5000}), 5.0);
      writer.add_all(kspace);
    }
    const RawKspace raw = read_raw_kspace(folder / (scan ? "scan.h5" : "none.h5"));
    EXPECT_EQ(raw.measurement.y.size(1), 2);
    EXPECT_TRUE(at::equal(raw.coils, at::tensor({0, 2}, at::kLong)));
    EXPECT_TRUE(has_note(raw, "number 1 hold(s) nothing but zeros"));
    EXPECT_EQ(raw.measurement.sigma_y, 1.0) << scan;
    // 6 standard deviations of 2/sqrt(204), of the rim alone.
    EXPECT_LT((covariance_of(raw.measurement.y[0].flatten(1)) - 2 * at::eye(2)).abs().max().item<double>(), 0.84) << scan;
  }
}

TEST(Mrd, AveragesAreLessNoisy) {
  const TempFolder folder;
  constexpr std::int64_t kN = 64;
  {
    MrdWriter writer(folder / "a.h5", kN, kN);
    for (std::uint64_t average = 0; average < 9; ++average) writer.add_all(30 * noise(40 + average, {1, 2, kN, kN}));
  }
  const RawKspace raw = read_raw_kspace(folder / "a.h5");
  EXPECT_NEAR(raw.measurement.sigma_y, 1.0 / 3.0, 1e-12);
  // 2 sigma_y^2, from 4096 samples whitened by 204 of them: 10 % are one standard deviation of the latter.
  EXPECT_NEAR(raw.measurement.y.abs().square().mean().item<double>(), 2.0 / 9.0, 0.3 * 2.0 / 9.0);
}

TEST(Mrd, ANoiseScanThatContradictsTheEdgeIsNotBelieved) {
  const TempFolder folder;
  constexpr std::int64_t kN = 64;
  const at::Tensor kspace = 250 * noise(14, {1, 2, kN, kN});
  for (const double factor : {1.0, 250.0, 2500.0}) {
    const std::string name = std::to_string(factor) + ".h5";
    {
      MrdWriter writer(folder / name, kN, kN);
      writer.add_noise(factor * noise(15, {2, 5000}), 5.0);
      writer.add_all(kspace);
    }
    const RawKspace raw = read_raw_kspace(folder / name);
    EXPECT_EQ(has_note(raw, "the noise scan is not used"), factor != 250.0) << factor;
    EXPECT_NEAR(raw.measurement.y.abs().square().mean().item<double>(), 2.0, 0.2) << factor;
  }
}

TEST(Mrd, ANoiseScanIsBelievedWhereTheEdgeHoldsSignal) {
  const TempFolder folder;
  constexpr std::int64_t kN = 64;
  const at::Tensor k = at::arange(kN, at::kDouble) - kN / 2;
  const at::Tensor radius = (k.square().unsqueeze(1) + k.square() + 1).sqrt();
  {
    MrdWriter writer(folder / "a.h5", kN, kN);
    writer.add_noise(noise(30, {2, 5000}), 5.0);
    const at::Tensor coils = at::tensor({1.0, 0.4}).view({1, 2, 1, 1});  // which see the same object
    writer.add_all(noise(31, {1, 1, kN, kN}) * coils * 1e4 / radius.pow(1.5) + noise(32, {1, 2, kN, kN}));
  }
  const RawKspace raw = read_raw_kspace(folder / "a.h5");
  EXPECT_FALSE(has_note(raw, "not used"));
  EXPECT_NE(raw.sigma_y_source.find("noise scan"), std::string::npos);
}

TEST(Mrd, ANoiseScanOfOtherCoilsIsNotUsed) {
  const TempFolder folder;
  {
    MrdWriter writer(folder / "a.h5", 64, 64);
    writer.add_noise(noise(28, {3, 5000}), 5.0);
    writer.add_all(noise(29, {1, 2, 64, 64}));
  }
  const RawKspace raw = read_raw_kspace(folder / "a.h5");
  EXPECT_TRUE(has_note(raw, "other coils than the image"));
  EXPECT_EQ(raw.measurement.sigma_y, 1.0);
}

TEST(Mrd, RefusesWhatItCannotRead) {
  const TempFolder folder;
  const at::Tensor kspace = noise(16, {1, kCoils, kRows, kColumns});
  int n = 0;
  const auto refused = [&](
                           const std::string& text, const std::function<void(ISMRMRD::Acquisition&)>& edit,
                           const std::function<void(ISMRMRD::IsmrmrdHeader&)>& edit_header = [](auto&) {}) {
    const std::string name = std::to_string(n++) + ".h5";
    MrdOptions options;
    options.edit_header = edit_header;
    MrdWriter(folder / name, kColumns, kRows, options).add_all(kspace, [&](ISMRMRD::Acquisition& a) {
      if (a.idx().kspace_encode_step_1 == 7) edit(a);
    });
    expect_error(ErrorKind::kBadData, {name, text}, [&] { unwhitened(folder / name); });
  };
  refused("2 contrasts", [](auto& a) { a.idx().contrast = 1; });
  refused("2 repetitions", [](auto& a) { a.idx().repetition = 3; });
  refused("2 phases", [](auto& a) { a.idx().phase = 1; });
  refused("2 sets", [](auto& a) { a.idx().set = 1; });
  refused("3-D", [](auto& a) { a.idx().kspace_encode_step_2 = 1; });
  refused("go backwards", [](auto& a) { a.setFlag(ISMRMRD::ISMRMRD_ACQ_IS_REVERSE); });
  refused("outside of the encoded matrix", [](auto& a) { a.idx().kspace_encode_step_1 = 500; });
  refused("outside of the encoded matrix", [](auto& a) { a.center_sample() = 1; });
  refused("2 and 1 coils", [](auto& a) { a.resize(kColumns, 1, 0); });
  refused("no samples", [](auto& a) { a.discard_pre() = kColumns; });
  refused("not finite", [](auto& a) { a.data(3, 1) = std::numeric_limits<float>::quiet_NaN(); });
  refused("position of a slice is not finite", [](auto& a) {
    a.idx().slice = 1;
    a.position()[1] = std::numeric_limits<float>::infinity();
  });
  refused(
      "not Cartesian", [](auto&) {}, [](auto& header) { header.encoding[0].trajectory = ISMRMRD::TrajectoryType::SPIRAL; });
  refused(
      "not above 0", [](auto&) {}, [](auto& header) { header.encoding[0].encodedSpace.fieldOfView_mm.x = 0; });
  MrdWriter(folder / "empty.h5", kColumns, kRows).add_noise(noise(17, {kCoils, 100}), 5);
  expect_error(ErrorKind::kBadData, {"empty.h5", "no readouts of an image"}, [&] { unwhitened(folder / "empty.h5"); });
  expect_error(ErrorKind::kNoInput, {"missing.h5"}, [&] { unwhitened(folder / "missing.h5"); });
}

TEST(Mrd, LeavesOutWhatIsNoImage) {
  const TempFolder folder;
  const at::Tensor kspace = noise(18, {1, kCoils, kRows, kColumns});
  {
    MrdWriter writer(folder / "a.h5", kColumns, kRows);
    writer.add_all(kspace);
    for (const auto flag : {ISMRMRD::ISMRMRD_ACQ_IS_NAVIGATION_DATA, ISMRMRD::ISMRMRD_ACQ_IS_PHASECORR_DATA, ISMRMRD::ISMRMRD_ACQ_IS_DUMMYSCAN_DATA})
      writer.add(noise(19, {kCoils, 5}), 0, 0, [&](ISMRMRD::Acquisition& a) { a.setFlag(flag); });
  }
  const RawKspace raw = unwhitened(folder / "a.h5");
  EXPECT_TRUE(at::equal(raw.measurement.y, kspace));
  EXPECT_TRUE(has_note(raw, "3 readouts of navigators"));
}

// ---- files made to harm ----

TEST(MrdHostile, ATruncatedFileIsOneErrorWhereverItEnds) {
  const TempFolder folder;
  MrdWriter(folder / "a.h5", kColumns, kRows).add_all(noise(20, {1, kCoils, kRows, kColumns}));
  const std::string bytes = read_bytes(folder / "a.h5");
  for (int part = 0; part < 12; ++part) {
    write_bytes_to(folder / "cut.h5", bytes.substr(0, bytes.size() * static_cast<std::size_t>(2 * part + 1) / 24 + 1));
    expect_error(ErrorKind::kBadData, {"cut.h5"}, [&] { unwhitened(folder / "cut.h5"); });
  }
  write_bytes_to(folder / "none.h5", "");
  expect_error(ErrorKind::kBadData, {"none.h5", "empty"}, [&] { unwhitened(folder / "none.h5"); });
  write_bytes_to(folder / "text.h5", "not HDF5 at all");
  expect_error(ErrorKind::kBadData, {"text.h5", "not an HDF5 file"}, [&] { unwhitened(folder / "text.h5"); });
}

/// Bytes changed at places that a fixed generator names: an error or a result, never a crash of this process.
TEST(MrdHostile, ChangedBytesDoNoHarm) {
  const TempFolder folder;
  MrdWriter(folder / "a.h5", kColumns, kRows).add_all(noise(21, {1, kCoils, kRows, kColumns}));
  const std::string bytes = read_bytes(folder / "a.h5");
  std::uint64_t state = 1;
  int n_errors = 0;
  for (int i = 0; i < 60; ++i) {
    std::string changed = bytes;
    for (int k = 0; k < 4; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      changed[(state >> 20) % changed.size()] = static_cast<char>(state >> 56);
    }
    write_bytes_to(folder / "b.h5", changed);
    try {
      unwhitened(folder / "b.h5");
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), static_cast<int>(ErrorKind::kBadData)) << error.what();
      ++n_errors;
    }
  }
  EXPECT_GT(n_errors, 3);
}

struct H5File {
  explicit H5File(const fs::path& path) : id(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~H5File() { H5Fclose(id); }
  hid_t id;
};

hid_t complex_type() {
  const hid_t type = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(type, "r", 0, H5T_NATIVE_FLOAT);
  H5Tinsert(type, "i", 4, H5T_NATIVE_FLOAT);
  return type;
}

void write_kspace(hid_t file, const at::Tensor& kspace, hid_t creation = H5P_DEFAULT) {
  const std::vector<hsize_t> shape(kspace.sizes().begin(), kspace.sizes().end());
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), type = complex_type();
  const hid_t dataset = H5Dcreate2(file, "kspace", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, kspace.contiguous().data_ptr());
  H5Dclose(dataset);
  H5Tclose(type);
  H5Sclose(space);
}

void write_mask(hid_t file, const std::vector<float>& mask) {
  const hsize_t n = mask.size();
  const hid_t space = H5Screate_simple(1, &n, nullptr);
  const hid_t dataset = H5Dcreate2(file, "mask", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, mask.data());
  H5Dclose(dataset);
  H5Sclose(space);
}

TEST(MrdHostile, LinksOutOfTheFileAreNotFollowed) {
  const TempFolder folder;
  MrdWriter(folder / "good.h5", kColumns, kRows).add_all(noise(22, {1, kCoils, kRows, kColumns}));
  {
    const H5File file(folder / "external.h5");
    H5Lcreate_external((folder / "good.h5").c_str(), "/dataset", file.id, "dataset", H5P_DEFAULT, H5P_DEFAULT);
  }
  expect_error(ErrorKind::kBadData, {"external.h5", "of its own"}, [&] { unwhitened(folder / "external.h5"); });
  {
    const H5File file(folder / "soft.h5");
    H5Lcreate_soft("/dataset", file.id, "dataset", H5P_DEFAULT, H5P_DEFAULT);  // to itself
  }
  expect_error(ErrorKind::kBadData, {"soft.h5", "of its own"}, [&] { unwhitened(folder / "soft.h5"); });
  {
    const H5File file(folder / "circle.h5");
    const hid_t group = H5Gcreate2(file.id, "dataset", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    for (const char* name : {"xml", "data"}) H5Lcreate_hard(file.id, "dataset", group, name, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(group);
  }
  expect_error(ErrorKind::kBadData, {"circle.h5"}, [&] { unwhitened(folder / "circle.h5"); });
  {
    // Raw data in another file.
    write_bytes_to(folder / "secret", std::string(8 * 60, 'x'));
    const H5File file(folder / "raw.h5");
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(creation, (folder / "secret").c_str(), 0, 8 * 60);
    const hsize_t shape[] = {1, 2, 5, 6};
    const hid_t space = H5Screate_simple(4, shape, nullptr), type = complex_type();
    H5Dclose(H5Dcreate2(file.id, "kspace", type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    H5Tclose(type);
    H5Sclose(space);
    H5Pclose(creation);
  }
  expect_error(ErrorKind::kBadData, {"raw.h5", "in another file"}, [&] { unwhitened(folder / "raw.h5"); });
}

/// Changes number_of_samples of one readout and leaves its values as they are.
void lie_about_samples(const fs::path& path, hsize_t readout, std::uint16_t n_samples) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), dataset = H5Dopen2(file, "/dataset/data", H5P_DEFAULT);
  const hid_t head = H5Tcreate(H5T_COMPOUND, 2), all = H5Tcreate(H5T_COMPOUND, 2), space = H5Dget_space(dataset), one = H5Screate(H5S_SCALAR);
  H5Tinsert(head, "number_of_samples", 0, H5T_NATIVE_UINT16);
  H5Tinsert(all, "head", 0, head);
  const hsize_t where[] = {readout, 0};
  H5Sselect_elements(space, H5S_SELECT_SET, 1, where);
  EXPECT_GE(H5Dwrite(dataset, all, one, space, H5P_DEFAULT, &n_samples), 0);
  for (const hid_t type : {head, all}) H5Tclose(type);
  for (const hid_t s : {space, one}) H5Sclose(s);
  H5Dclose(dataset);
  H5Fclose(file);
}

TEST(MrdHostile, AHeaderThatPromisesOtherValuesThanThereAre) {
  const TempFolder folder;
  for (const std::int64_t n : {kColumns - 1, kColumns + 1, std::int64_t{60000}}) {
    MrdWriter(folder / "a.h5", kColumns, kRows).add_all(noise(26, {1, kCoils, kRows, kColumns}));
    EXPECT_NO_THROW(unwhitened(folder / "a.h5"));
    lie_about_samples(folder / "a.h5", 2, static_cast<std::uint16_t>(n));
    expect_error(ErrorKind::kBadData, {"a.h5", "readout 2 holds another number of values"}, [&] { unwhitened(folder / "a.h5"); });
    fs::remove(folder / "a.h5");
  }
}

TEST(MrdHostile, SizesThatNoFileCanHold) {
  const TempFolder folder;
  {
    const H5File file(folder / "huge.h5");
    const hsize_t shape[] = {1000000, 1000000, 1000000, 100}, chunk[] = {1, 1, 1, 100};
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(4, shape, nullptr), type = complex_type();
    H5Pset_chunk(creation, 4, chunk);
    H5Dclose(H5Dcreate2(file.id, "kspace", type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    H5Pclose(creation);
    H5Tclose(type);
    H5Sclose(space);
  }
  expect_error(ErrorKind::kBadData, {"huge.h5"}, [&] { unwhitened(folder / "huge.h5"); });
}

// ---- fastMRI ----

TEST(FastMri, RowsAreTheReadoutAndTheMaskIsOfColumns) {
  const TempFolder folder;
  const at::Tensor kspace = noise(23, {kSlices, kCoils, kRows, kColumns});
  std::vector<float> mask(kColumns, 1.0f);
  mask[1] = mask[4] = 0.0f;
  {
    const H5File file(folder / "a.h5");
    write_kspace(file.id, kspace);
    write_mask(file.id, mask);
  }
  RawKspace raw = unwhitened(folder / "a.h5");
  EXPECT_TRUE(at::equal(raw.measurement.y, kspace * at::tensor(mask)));
  for (std::int64_t column = 0; column < kColumns; ++column)
    EXPECT_TRUE(mask_of(raw).select(1, column).eq(column != 1 && column != 4).all().item<bool>()) << column;
  EXPECT_TRUE(has_note(raw, "field of view"));
  EXPECT_EQ(raw.measurement.parameters.text("undersample-axis"), "x");  // what a pattern of the user leaves out are columns

  {
    const H5File file(folder / "single.h5");  // single-coil: [slice, ky, kx]
    write_kspace(file.id, kspace.select(1, 1));
  }
  EXPECT_TRUE(at::equal(unwhitened(folder / "single.h5").measurement.y, kspace.narrow(1, 1, 1)));

  mask.pop_back();
  {
    const H5File file(folder / "short.h5");
    write_kspace(file.id, kspace);
    write_mask(file.id, mask);
  }
  expect_error(ErrorKind::kBadData, {"short.h5", "10 columns", "11"}, [&] { unwhitened(folder / "short.h5"); });
}

TEST(FastMri, TheHeaderSaysFieldOfViewAndOversampling) {
  const TempFolder folder;
  const at::Tensor kspace = noise(24, {1, kCoils, kColumns, kRows});  // readout along rows
  const at::Tensor wide = oversampled(kspace.transpose(2, 3), 2 * kColumns).transpose(2, 3).clone();
  MrdOptions options;
  options.encoded_fov_mm = {400, 100};
  options.recon_fov_mm = {200, 100};
  MrdWriter(folder / "header.h5", 2 * kColumns, kRows, options).add_noise(noise(25, {1, 8}), 5);
  const auto read_with_header = [&](const char* name, const at::Tensor& stored) {
    {
      const H5File file(folder / name);
      write_kspace(file.id, stored);
      const hid_t from = H5Fopen((folder / "header.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
      H5Ocopy(from, "/dataset/xml", file.id, "ismrmrd_header", H5P_DEFAULT, H5P_DEFAULT);
      H5Fclose(from);
    }
    return unwhitened(folder / name);
  };
  const RawKspace raw = read_with_header("a.h5", wide);
  EXPECT_LT(largest_difference(raw.measurement.y, kspace), 1e-5);
  EXPECT_NEAR(raw.measurement.geometry.spacing_mm[0], 100.0 / kRows, 1e-4);
  EXPECT_NEAR(raw.measurement.geometry.spacing_mm[1], 200.0 / kColumns, 1e-4);
  EXPECT_NEAR(raw.measurement.geometry.spacing_mm[2], 4.0, 1e-4);

  // A partial echo: cutting would smear what is missing over the readout and call it measured.
  const at::Tensor partial = wide.clone();
  partial.narrow(2, 0, 3).zero_();
  const RawKspace kept = read_with_header("partial.h5", partial);
  EXPECT_TRUE(at::equal(kept.measurement.y, partial));
  EXPECT_TRUE(has_note(kept, "oversampling is kept"));
}

}  // namespace
}  // namespace postrec::test
