// sample and likelihood.
#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>

#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class Sample : public AppTest {
 protected:
  Ended draw(const std::string& output, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"sample", "--size", "17x19", "--samples", "5", "--steps", "6", "--threads", "1", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_postrec(arguments);
  }
};

TEST_F(Sample, WritesImagesAPictureAndWhatMadeThem) {
  ASSERT_EQ(draw("mr", {"--prior", path("mr.safetensors"), "--pixel-mm", "2"}).code, 0);
  for (const char* file : {"samples.nii.gz", "sample_1.nii.gz", "samples.png", "run.json"}) EXPECT_TRUE(fs::exists(path(std::string("mr/") + file))) << file;
  const auto run = run_json("mr");
  EXPECT_EQ(run["origin"], "prior");
  EXPECT_EQ(run["prior"]["name"], "test");
  EXPECT_EQ(run["sampler"]["method"], "bridge");
  EXPECT_EQ(run["samples_kept"], 5);
  EXPECT_EQ(run["nfe"], 6);
  const Image image = read_scan(path("mr/sample_1.nii.gz")).image;
  EXPECT_EQ(image.pixels.sizes(), at::IntArrayRef({1, 1, 17, 19}));
  EXPECT_FLOAT_EQ(image.geometry.spacing_mm[0], 2.0f);
  EXPECT_GE(image.pixels.min().item<double>(), 0.0);  // magnitudes
  EXPECT_GT(image.pixels.std().item<double>(), 0.0);
  // A CT prior's images are in HU: what is 0.4 of water there, its mean, is -600, give or take the mean of an image, sqrt(5 / 16) in units of water.
  ASSERT_EQ(draw("ct", {"--prior", path("ct.safetensors"), "--method", "ode"}).code, 0);
  EXPECT_EQ(run_json("ct")["unit"], "hu");
  EXPECT_FLOAT_EQ(read_scan(path("ct/sample_1.nii.gz")).image.geometry.spacing_mm[0], 1.25f);  // the prior's own
  EXPECT_EQ(run_json("ct")["sampler"]["method"], "prior");
  EXPECT_NEAR(read_scan(path("ct/sample_1.nii.gz")).image.pixels.mean().item<double>(), -600.0, 4.5 * 1000.0 * std::sqrt(5.0 / 16.0));
}

TEST_F(Sample, OnADevice) {
  const Ended ended = draw("out", {"--prior", path("mr.safetensors"), "--device", "cuda"});
  if (at::hasCUDA()) {
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(run_json("out")["device"], "cuda");
    return;
  }
  expect_error(ended, 69, {"--device cuda", "no CUDA device"});
  expect_nothing_written("out");
  ASSERT_EQ(draw("out", {"--prior", path("mr.safetensors"), "--device", "auto"}).code, 0);
  EXPECT_EQ(run_json("out")["device"], "cpu");
}

TEST_F(Sample, SameSeedSameFile) {
  for (const char* method : {"sde", "ode"}) {
    for (const auto& [name, batch] : {std::pair{"a", "0"}, {"b", "2"}})
      ASSERT_EQ(draw(name, {"--prior", path("mr.safetensors"), "--method", method, "--batch-size", batch, "--on-existing", "overwrite"}).code, 0);
    EXPECT_EQ(content("a/samples.nii.gz"), content("b/samples.nii.gz")) << method;
    ASSERT_EQ(draw("b", {"--prior", path("mr.safetensors"), "--method", method, "--seed", "1", "--on-existing", "overwrite"}).code, 0);
    EXPECT_NE(content("a/samples.nii.gz"), content("b/samples.nii.gz")) << method;
  }
}

TEST_F(Sample, Mistakes) {
  expect_error(draw("out", {}), 64, {"--prior"});
  expect_error(run_postrec({"sample", "--prior", path("mr.safetensors"), "--output", path("out")}), 64, {"--size"});
  for (const char* size : {"17", "17x", "0x5", "17x19x2", "-3x4", "99999x9"})
    expect_error(run_postrec({"sample", "--prior", path("mr.safetensors"), "--size", size, "--output", path("out")}), 64, {size});
  expect_error(draw("out", {"--prior", path("mr.safetensors"), "--method", "guess"}), 64, {"guess", "ode"});
  expect_error(draw("out", {"--prior", path("mr.safetensors"), "--pixel-mm", "-1"}), 64, {"pixel-mm"});
  expect_error(draw("out", {"--prior", "no-such-prior"}), 69, {"no-such-prior"});
  expect_error(draw("out", {"--prior", path("none.safetensors")}), 66, {"none.safetensors"});
  expect_nothing_written("out");
}

class Likelihood : public AppTest {
 protected:
  Ended ask(const std::string& scan, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"likelihood", path(scan), "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_postrec(arguments);
  }
  nlohmann::json images(const std::string& scan, std::vector<std::string> more) const {
    more.insert(more.end(), {"--log-format", "json"});
    const Ended ended = ask(scan, more);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return nlohmann::json::parse(ended.out)["images"];
  }
};

// Against the closed form. The noise that the command adds is not known here, but what it does to the mean over d = 17 x 19 numbers is: with variances
// v = s + sigma^2 the exponent is quadratic in it, with mean 1/2 mean sigma^2/v and variance (1/2 sum (sigma^2/v)^2 + sum sigma^2 k^2/v^2)/d^2.
// 4.5 standard deviations, false alarm 7e-6, and 1e-3 of the solver.
TEST_F(Likelihood, IsThatOfTheGaussian) {
  const auto lines = images("ct.nii.gz", {"--prior", path("ct.safetensors"), "--unit", "hu", "--slice", "1", "--sigma", "0.2"});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["file"], "ct.nii.gz");
  EXPECT_EQ(lines[0]["slice"], 1);
  EXPECT_EQ(lines[0]["dimensions"], 17 * 19);
  const auto loaded = load_prior(path("ct.safetensors"), 1.25);
  const auto& prior = dynamic_cast<const GaussianPrior&>(*loaded);
  const at::Tensor model = read_scan(path("ct.nii.gz")).image.pixels[1].unsqueeze(0) / 1000.0 + 1.0, s = prior.spectrum_for({1, 17, 19});
  const at::Tensor k2 = SpectralCovariance(prior.basis(), s).to_basis(model - prior.mean()[0]).to(at::kDouble).square(), v = s.to(at::kDouble) + 0.04, share = 0.04 / v;
  const double d = 17 * 19, per_bit = std::log(2.0);
  const double expected = 0.5 * (k2 / v + share + (2 * M_PI * v).log()).mean().item<double>() / per_bit;
  const double deviation = std::sqrt(0.5 * share.square().sum().item<double>() + (share * k2 / v).sum().item<double>()) / d / per_bit;
  EXPECT_NEAR(lines[0]["bits_per_dimension"].get<double>(), expected, 4.5 * deviation + 1e-3);
  EXPECT_LT(lines[0]["standard_error"].get<double>(), 1e-5);  // a Gaussian's trace is exact in its own basis
}

// An image that the prior drew, and white noise as strong as water: beside the prior's high frequencies, whose variance is below 0.01, it stands
// tens of standard deviations out.
TEST_F(Likelihood, WhiteNoiseIsUnlikely) {
  ASSERT_EQ(run_postrec({"sample", "--prior", path("ct.safetensors"), "--size", "17x19", "--pixel-mm", "1.25", "--samples", "1", "--output", path("own")}).code, 0);
  Image noise = read_scan(path("own/sample_1.nii.gz")).image;
  noise.pixels = 1000.0 * RandomStreams(1, 0, 1).normal(0, {1, 17, 19}, at::kFloat);
  write_nifti(path("noise.nii.gz"), noise);
  const std::vector<std::string> how = {"--prior", path("ct.safetensors"), "--unit", "hu", "--threshold", "5"};
  const auto own = images("own/sample_1.nii.gz", how)[0], other = images("noise.nii.gz", how)[0];
  EXPECT_LT(own["bits_per_dimension"].get<double>(), 5.0);
  EXPECT_EQ(own["unlikely"], false);
  EXPECT_GT(other["bits_per_dimension"].get<double>(), 5.0);
  EXPECT_EQ(other["unlikely"], true);
  const Ended text = ask("noise.nii.gz", how);
  EXPECT_NE(text.out.find("noise.nii.gz slice 0: "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("UNLIKELY"), std::string::npos) << text.out;
}

TEST_F(Likelihood, BinWidthIsOfTheStoredNumbers) {
  // A bin of 1 HU is 1/1000 of water: log2(1000) bits more.
  const auto ct = images("ct.nii.gz", {"--prior", path("ct.safetensors"), "--unit", "hu", "--slice", "1", "--bin-width", "1"})[0];
  EXPECT_NEAR(ct["quantised_bits_per_dimension"].get<double>() - ct["bits_per_dimension"].get<double>(), std::log2(1000.0), 1e-9);
  // A bin of the scale itself is a bin of 1.
  const auto mr = images("mr.nii.gz", {"--prior", path("mr.safetensors"), "--slice", "1"})[0];
  char scale[32];
  std::snprintf(scale, sizeof scale, "%.17g", mr["scale"].get<double>());
  const auto binned = images("mr.nii.gz", {"--prior", path("mr.safetensors"), "--slice", "1", "--bin-width", scale})[0];
  EXPECT_EQ(binned["bits_per_dimension"], mr["bits_per_dimension"]);
  EXPECT_NEAR(binned["quantised_bits_per_dimension"].get<double>(), mr["bits_per_dimension"].get<double>(), 1e-9);
}

// The same numbers, in HU and as they are after the division.
TEST_F(Likelihood, BinWidthOfAttenuationIsOfTheStoredHounsfieldNumbers) {
  Image divided = read_scan(path("ct.nii.gz")).image;
  divided.pixels = divided.pixels / 1000.0 + 1.0;
  write_nifti(path("divided.nii.gz"), divided);
  const auto asked = [&](const char* scan, const char* unit, const char* bin_width) {
    return images(scan, {"--prior", path("mr.safetensors"), "--slice", "1", "--unit", unit, "--bin-width", bin_width})[0]["quantised_bits_per_dimension"].get<double>();
  };
  // The division is rounded to float32 once more, or not.
  EXPECT_NEAR(asked("ct.nii.gz", "attenuation", "1"), asked("divided.nii.gz", "arbitrary", "0.001"), 1e-4);
}

// Of a picture of bytes a pixel is a pixel, reduced or not: a prior of halved ones is asked the same of one that is halved now.
TEST_F(Likelihood, AReducedPictureOfBytesIsAskedAtItsOwnPixels) {
  const at::Tensor small = (test_volume(1, 12, 16).squeeze(0) * 200.0 / test_volume(1, 12, 16).max()).round();
  write_png(path("small.png"), small, 0.0, 255.0);
  write_png(path("large.png"), small.repeat_interleave(2, 1).repeat_interleave(2, 2), 0.0, 255.0);
  ASSERT_EQ(run_postrec({"train", path("small.png"), "--basis", "dct", "--intensity", "byte", "--table-size", "8", "--licence", "CC0", "--output", path("bytes.safetensors")}).code, 0);
  const std::vector<std::string> how = {"--prior", path("bytes.safetensors"), "--unit", "arbitrary"};
  auto halved = how;
  halved.insert(halved.end(), {"--reduce", "2"});
  EXPECT_EQ(images("large.png", halved)[0]["bits_per_dimension"], images("small.png", how)[0]["bits_per_dimension"]);
}

TEST_F(Likelihood, ASliceAloneAndAmongOthers) {
  const auto all = images("mr.nii.gz", {"--prior", path("mr.safetensors"), "--phase", "smooth"});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(images("mr.nii.gz", {"--prior", path("mr.safetensors"), "--phase", "smooth", "--slice", "2"})[0], all[2]);
  EXPECT_NE(images("mr.nii.gz", {"--prior", path("mr.safetensors"), "--slice", "2"})[0]["bits_per_dimension"], all[2]["bits_per_dimension"]);
}

TEST_F(Likelihood, HounsfieldNumbersUnderAnotherPrior) {
  const std::vector<std::string> mr = {"--prior", path("mr.safetensors"), "--slice", "1", "--unit"};
  const auto with = [&](const char* unit) {
    auto more = mr;
    more.emplace_back(unit);
    return more;
  };
  expect_error(ask("ct.nii.gz", with("hu")), 78, {"ct.nii.gz", "--unit attenuation"});
  // Air is -1 as plain numbers and 0 as attenuation; by either scale the largest magnitude is about 1.
  EXPECT_NE(images("ct.nii.gz", with("attenuation"))[0]["bits_per_dimension"], images("ct.nii.gz", with("arbitrary"))[0]["bits_per_dimension"]);
}

// Images of the prior make the reference. Whether one more of them is within a limit that one in twenty exceeds is chance and not asked; white noise is
// dozens of standard deviations out in the bands where the prior has next to nothing.
TEST_F(Likelihood, TypicalImagesGiveAVerdict) {
  const auto loaded = load_prior(path("ct.safetensors"), 1.25);
  const auto& prior = dynamic_cast<const GaussianPrior&>(*loaded);
  const SpectralCovariance covariance(prior.basis(), prior.spectrum_for({1, 17, 19}));
  Image image = read_scan(path("ct.nii.gz")).image;
  const auto write = [&](const std::string& name, std::uint64_t seed, std::int64_t slices) {
    image.pixels = 1000.0 * (covariance.apply_factor(RandomStreams(seed, 0, slices).normal(0, {1, 17, 19}, at::kFloat)) + prior.mean()[0] - 1.0);
    write_nifti(path(name), image);
  };
  std::vector<std::string> known = {"likelihood", "--prior", path("ct.safetensors"), "--unit", "hu", "--write-typical", path("ct.typical.json"), "--per-scan", "12"};
  for (const char* name : {"anna.nii.gz", "bela.nii.gz", "cleo.nii.gz"}) {
    write(name, known.size(), 12);
    known.push_back(path(name));
  }
  const Ended made = run_postrec(known);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_NE(made.out.find(" slices of 3 subjects"), std::string::npos) << made.out;
  EXPECT_EQ(content("ct.typical.json").find("anna"), std::string::npos);  // whose they are is never shown

  // What is there stays, above all what is read.
  expect_error(run_postrec(known), 73, {"ct.typical.json", "exists"});
  auto over_itself = known;
  std::replace(over_itself.begin(), over_itself.end(), path("ct.typical.json"), path("ct.safetensors"));
  over_itself.insert(over_itself.end(), {"--on-existing", "overwrite"});
  expect_error(run_postrec(over_itself), 64, {"ct.safetensors", "an input"});
  auto again = known;
  again.insert(again.end(), {"--on-existing", "overwrite", "--log-format", "json"});
  EXPECT_EQ(nlohmann::json::parse(run_postrec(again).out)["subjects"], 3);

  write("own.nii.gz", 99, 1);
  image.pixels = 1000.0 * RandomStreams(1, 0, 1).normal(0, {1, 17, 19}, at::kFloat);
  write_nifti(path("noise.nii.gz"), image);
  const std::vector<std::string> how = {"--prior", path("ct.safetensors"), "--unit", "hu", "--no-density"};
  const auto own = images("own.nii.gz", how)[0], other = images("noise.nii.gz", how)[0];
  EXPECT_FALSE(own.contains("bits_per_dimension"));
  EXPECT_EQ(own["typicality"]["verdict"], own["typicality"]["distance"] <= own["typicality"]["limit"] ? "fits" : "unlikely");
  EXPECT_LT(own["typicality"]["distance"].get<double>(), other["typicality"]["distance"].get<double>());
  EXPECT_EQ(other["typicality"]["verdict"], "unlikely");
  const Ended text = ask("noise.nii.gz", how);
  EXPECT_NE(text.out.find(": unlikely"), std::string::npos) << text.out;

  // Of another prior, it is refused.
  expect_error(ask("mr.nii.gz", {"--prior", path("mr.safetensors"), "--no-density", "--typical", path("ct.typical.json")}), 78, {"ct.typical.json"});
  expect_error(ask("mr.nii.gz", {"--prior", path("mr.safetensors"), "--no-density"}), 64, {"--write-typical"});
}

TEST_F(Likelihood, Mistakes) {
  const std::vector<std::string> prior = {"--prior", path("mr.safetensors")};
  const auto with = [&](const std::vector<std::string>& more) {
    auto all = prior;
    all.insert(all.end(), more.begin(), more.end());
    return ask("mr.nii.gz", all);
  };
  expect_error(ask("mr.nii.gz", {}), 64, {"--prior"});
  expect_error(ask("none.nii.gz", prior), 66, {"none.nii.gz"});
  expect_error(with({"--slice", "7"}), 64, {"7"});
  expect_error(with({"--probes", "0"}), 64, {"n_probes"});
  expect_error(with({"--sigma", "1e9"}), 64, {"sigma"});
  expect_error(with({"--bin-width", "0"}), 64, {"bin-width"});
  expect_error(with({"--unit", "kelvin"}), 64, {"kelvin"});
  expect_error(ask("mr.nii.gz", {"--prior", path("ct.safetensors")}), 78, {"CT"});
}

}  // namespace
}  // namespace postrec
