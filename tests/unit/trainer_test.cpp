#include "postrec/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "expect_error.hpp"
#include "postrec/random.hpp"
#include "safetensors.hpp"
#include "temp_folder.hpp"

namespace postrec::test {
namespace {

namespace fs = std::filesystem;

// Ellipses of random place and brightness: images that a linear denoiser is not best for.
std::vector<at::Tensor> images(std::int64_t n = 12) {
  const at::Tensor chance = RandomStreams(11, 0, n).uniform(0, {5}), grid = at::arange(24, at::kFloat);
  std::vector<at::Tensor> result;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto u = [&](int k) { return chance[i][k].item<double>(); };
    const at::Tensor y = ((grid - 6 - 12 * u(0)) / (3 + 5 * u(1))).square().unsqueeze(1), x = ((grid - 6 - 12 * u(2)) / (3 + 5 * u(3))).square().unsqueeze(0);
    result.push_back(((y + x).lt(1.0).to(at::kFloat) * (0.4 + 0.6 * u(4))).unsqueeze(0));
  }
  return result;
}

GaussianPrior gaussian(SpectralBasis basis) {
  GaussianFit fit(basis, 1, 24, 0.0);
  for (const at::Tensor& image : images()) fit.add(basis == SpectralBasis::kDft ? at::complex(image, at::zeros_like(image)) : image, 0.0);
  return fit.finish({"test", "none", "ellipses", PriorIntensity::kUnit, ""});
}

TrainingOptions options(SpectralBasis basis = SpectralBasis::kDct) {
  TrainingOptions result;
  result.network.widths = {8, 16};
  result.network.blocks = {1, 1};
  result.network.embedding = 16;
  result.n_steps = 60;
  result.n_decay_steps = 20;
  result.n_warm_up_steps = 5;
  result.pixels_per_step = 4 * 16 * 16;
  result.crops = {{16, 0.7, -1.8}, {24, 0.3, -1.0}};
  result.augmentation.smooth_phase = basis == SpectralBasis::kDft;
  result.seed = 5;
  return result;
}

Trainer trainer(const TrainingOptions& how, SpectralBasis basis = SpectralBasis::kDct) { return Trainer(how, gaussian(basis), images()); }

bool same(const Weights& a, const Weights& b) {
  for (const auto& [name, weight] : a)
    if (!weight.equal(b.at(name))) return false;
  return a.size() == b.size();
}

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    threads_ = at::get_num_threads();
    at::set_num_threads(1);  // so small a network waits for other threads longer than it computes
  }
  void TearDown() override { at::set_num_threads(threads_); }
  fs::path path(const char* name) const { return folder_ / name; }

  TempFolder folder_;
  int threads_ = 1;
};

TEST_F(TrainerTest, ResumedGivesTheSameBits) {
  for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft}) {
    TrainingOptions how = options(basis);
    how.n_steps = 14;
    how.n_decay_steps = 6;
    Trainer whole = trainer(how, basis);
    while (!whole.finished()) whole.step();
    whole.save_checkpoint(path("whole"));

    for (int stop = 0; stop < 14; stop += 5) {
      // A new trainer each time: nothing may live outside of the checkpoint.
      Trainer part = trainer(how, basis);
      if (stop > 0) part.resume(path("part"));
      EXPECT_EQ(part.steps_done(), stop);
      for (int i = 0; i < 5 && !part.finished(); ++i) part.step();
      part.save_checkpoint(path("part"));
    }
    EXPECT_EQ(content(path("part")), content(path("whole")));
    Trainer last = trainer(how, basis);
    last.resume(path("part"));
    EXPECT_TRUE(same(last.averaged().network().weights(), whole.averaged().network().weights()));
  }
}

// Images without a phase, for a network of complex ones.
TEST_F(TrainerTest, ZeroPhaseTrains) {
  TrainingOptions how = options(SpectralBasis::kDft);
  how.augmentation.smooth_phase = false;
  how.network.conditions = SpectralNoise::kSummarySize;
  how.masked_fourier.share = 0.5;
  Trainer one = trainer(how, SpectralBasis::kDft);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(std::isfinite(one.step()));
}

TEST_F(TrainerTest, TheSeedDecides) {
  TrainingOptions how = options();
  Trainer a = trainer(how), b = trainer(how);
  how.seed = 6;
  Trainer c = trainer(how);
  for (int i = 0; i < 2; ++i) {
    const double loss = a.step();
    EXPECT_EQ(loss, b.step());
    EXPECT_NE(loss, c.step());
  }
}

TEST_F(TrainerTest, TheLossFallsAndTheAverageIsWhatIsKept) {
  TrainingOptions how = options();
  how.n_steps = 250;
  how.learning_rate = 3e-3;
  Trainer one = trainer(how);
  double first = 0.0, last = 0.0;
  for (int i = 0; i < 250; ++i) {
    const double loss = one.step();
    if (i < 25) first += loss / 25;
    if (i >= 200) last += loss / 50;
  }
  EXPECT_NEAR(first, 1.0, 0.25);  // a new network is the linear denoiser, whose loss is 1 on average
  EXPECT_LT(last, 0.85 * first);
  // Its averaged network denoises better than the linear part alone.
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::stack(images()), x_t = x + 0.3 * RandomStreams(1, 0, x.size(0)).normal(0, {1, 24, 24}, at::kFloat);
  const double network = (one.averaged().denoise(x_t, at::full({1}, 0.3f)) - x).square().mean().item<double>();
  const double linear = (gaussian(SpectralBasis::kDct).denoise(x_t, 0.3) - x).square().mean().item<double>();
  EXPECT_LT(network, 0.9 * linear);
  // Fine-tuning starts from the average.
  one.save_checkpoint(path("c"));
  Trainer again = trainer(how);
  again.start_from(path("c"));
  EXPECT_TRUE(same(again.averaged().network().weights(), one.averaged().network().weights()));
  // Layers that fit any widths are no network.
  how.network.widths = {16, 32};
  Trainer wider = trainer(how);
  expect_error(ErrorKind::kBadData, "another network", [&] { wider.start_from(path("c")); });
}

// The third step leaves 3/13 of the average as it was. rtol is a few roundings of 6e-8; atol is for weights near 0, whose terms may cancel.
TEST_F(TrainerTest, ACheckpointHoldsTheWeightsAndTheirAverage) {
  Trainer one = trainer(options());
  for (int i = 0; i < 2; ++i) one.step();
  one.save_checkpoint(path("before"));
  one.step();
  one.save_checkpoint(path("after"));
  const SafeTensors before = read_safetensors(path("before")), after = read_safetensors(path("after"));
  const Weights averages = one.averaged().network().weights();
  Weights weights;
  for (const auto& [name, average] : averages) {
    weights[name] = after.tensors.at("weight/" + name);
    EXPECT_TRUE(after.tensors.at("average/" + name).equal(average)) << name;
    EXPECT_TRUE(at::allclose(average, (3.0 * before.tensors.at("average/" + name) + 10.0 * weights[name]) / 13.0, 1e-6, 1e-8)) << name;
  }
  EXPECT_FALSE(same(weights, averages));
}

TEST_F(TrainerTest, TheLearningRateRisesStaysAndFalls) {
  TrainingOptions how = options();
  Trainer one = trainer(how);
  std::vector<double> rates;
  while (!one.finished()) {
    rates.push_back(one.learning_rate());
    one.step();
  }
  EXPECT_DOUBLE_EQ(rates[0], how.learning_rate / 6);
  EXPECT_DOUBLE_EQ(rates[5], how.learning_rate);
  EXPECT_DOUBLE_EQ(rates[39], how.learning_rate);
  EXPECT_DOUBLE_EQ(rates[50], how.learning_rate * 10 / 20);
  EXPECT_DOUBLE_EQ(rates[59], how.learning_rate / 20);
}

TEST_F(TrainerTest, EveryObjectiveTrains) {
  for (const char* process : {"ve", "vp", "sub-vp", "edm", "ncsn"}) {
    TrainingOptions how = options();
    how.process = make_noise_process(process, {});
    how.weighting = Weighting::kLikelihood;
    Trainer one = trainer(how);
    EXPECT_TRUE(std::isfinite(one.step() + one.step())) << process;
    EXPECT_EQ(how.trained_range().maximum, 80.0);
  }
  for (const SlicedNorm norm : {SlicedNorm::kProjected, SlicedNorm::kExact})
    for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft}) {
      TrainingOptions how = options(basis);
      how.sliced = norm;
      Trainer one = trainer(how, basis);
      const Weights before = one.averaged().network().weights();
      EXPECT_TRUE(std::isfinite(one.step() + one.step()));
      EXPECT_FALSE(same(before, one.averaged().network().weights()));
    }
}

TEST_F(TrainerTest, WeightingsWeighTheSameErrors) {
  // Of a new network the first loss is that of the linear denoiser; with weights 1/c_out^2 and sigma^-2 it differs, by a factor that the sigmas of
  // the batch bound, and EDM's own weight lies between.
  const auto first_loss = [](std::optional<Weighting> weighting) {
    TrainingOptions how = options();
    how.weighting = weighting;
    return trainer(how).step();
  };
  const double balanced = first_loss({}), squared = first_loss(Weighting::kSigmaSquared), edm = first_loss(Weighting::kEdm);
  EXPECT_NE(balanced, squared);
  EXPECT_GT(edm, squared);  // by 1 / sigma_data^2
}

TEST_F(TrainerTest, TheTrainedRangeIsThatOfTheDraws) {
  TrainingOptions how = options();
  const SigmaRange range = how.trained_range();
  EXPECT_NEAR(std::log(range.minimum), -1.8 - 2.9 * 1.4, 1e-9);
  EXPECT_NEAR(std::log(range.maximum), -1.0 + 2.9 * 1.4, 1e-9);
}

TEST_F(TrainerTest, RefusesAnotherCheckpoint) {
  Trainer one = trainer(options());
  one.step();
  one.save_checkpoint(path("c"));
  const auto refused = [&](const std::string& words, auto change) {
    TrainingOptions how = options();
    change(how);
    Trainer other = trainer(how);
    expect_error(ErrorKind::kBadData, words, [&] { other.resume(path("c")); });
  };
  refused("seed was 5, is 6", [](TrainingOptions& how) { how.seed = 6; });
  refused("learning-rate was", [](TrainingOptions& how) { how.learning_rate = 0.5; });
  refused("objective was denoising", [](TrainingOptions& how) { how.sliced = SlicedNorm::kExact; });
  refused("process was none", [](TrainingOptions& how) { how.process = make_noise_process("vp", {}); });
  refused("intensity and phase was", [](TrainingOptions& how) { how.augmentation.max_log_gain = 0.2; });
  refused("another network", [](TrainingOptions& how) { how.network.widths = {16, 16}; });
  refused("another network", [](TrainingOptions& how) { how.network.attention = true; });
  Trainer fewer(options(), gaussian(SpectralBasis::kDct), images(3));
  expect_error(ErrorKind::kBadData, "12 slices", [&] { fewer.resume(path("c")); });
  std::vector<at::Tensor> changed = images();
  changed[3] = changed[3].flip({1});
  Trainer on_others(options(), gaussian(SpectralBasis::kDct), changed);
  expect_error(ErrorKind::kBadData, "scans was 12 slices", [&] { on_others.resume(path("c")); });
  GaussianFit fit(SpectralBasis::kDct, 1, 24, 0.0);
  fit.add(images()[0], 0.0);
  Trainer about_others(options(), fit.finish({"test", "none", "an ellipse", PriorIntensity::kUnit, ""}), images());
  expect_error(ErrorKind::kBadData, "basis", [&] { about_others.resume(path("c")); });
  one.step();
  one.save_checkpoint(path("two"));
  TrainingOptions shorter = options();
  shorter.n_steps = shorter.n_decay_steps = 1;
  Trainer behind = trainer(shorter);
  expect_error(ErrorKind::kBadData, "2 steps", [&] { behind.resume(path("two")); });
  TrainingOptions longer = options();
  longer.n_steps = 100;
  Trainer ahead = trainer(longer);
  ahead.resume(path("two"));
  EXPECT_EQ(ahead.steps_done(), 2);

  TrainingOptions larger = options();
  larger.network.attention = true;
  Trainer with_attention = trainer(larger);
  with_attention.save_checkpoint(path("larger"));
  Trainer without = trainer(options());
  expect_error(ErrorKind::kBadData, "larger network", [&] { without.resume(path("larger")); });

  const std::string whole = content(path("c"));
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(path("cut"), std::ios::binary) << whole.substr(0, length);
    Trainer other = trainer(options());
    expect_error(ErrorKind::kBadData, "cut", [&] { other.resume(path("cut")); });
  }
  std::string flipped = whole;
  flipped[flipped.size() - 2] ^= 1;            // in the last number
  std::ofstream(path("flipped"), std::ios::binary) << flipped;
  Trainer other = trainer(options());
  expect_error(ErrorKind::kBadData, "damaged", [&] { other.resume(path("flipped")); });
  SafeTensors lying = read_safetensors(path("c"));
  lying.metadata["steps"] = "x";
  lying.metadata[kContentHash] = content_sha256(lying);
  std::ofstream(path("lying"), std::ios::binary) << safetensors_bytes(lying);
  expect_error(ErrorKind::kBadData, "steps", [&] { other.resume(path("lying")); });
  expect_error(ErrorKind::kNoInput, "none", [&] { other.resume(path("none")); });
}

TEST_F(TrainerTest, ACheckpointIsAllOrNothing) {
  Trainer one = trainer(options());
  one.step();
  one.save_checkpoint(path("c"));
  const std::string before = content(path("c"));
  one.step();
  expect_error(ErrorKind::kCannotCreate, "nowhere", [&] { one.save_checkpoint(path("nowhere") / "c"); });
  EXPECT_EQ(content(path("c")), before);
  one.save_checkpoint(path("c"));
  EXPECT_NE(content(path("c")), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1) << "something temporary was left";
}

TEST_F(TrainerTest, RefusesImpossibleOptions) {
  const auto refused = [](const std::string& words, auto change) {
    TrainingOptions how = options();
    change(how);
    expect_error(ErrorKind::kUsage, words, [&] { how.validate(); });
  };
  refused("steps", [](TrainingOptions& how) { how.n_steps = 0; });
  refused("steps", [](TrainingOptions& how) { how.n_decay_steps = how.n_steps + 1; });
  refused("learning rate", [](TrainingOptions& how) { how.learning_rate = -1; });
  refused("average", [](TrainingOptions& how) { how.average_decay = 1.0; });
  refused("pixels", [](TrainingOptions& how) { how.pixels_per_step = 0; });
  refused("crop", [](TrainingOptions& how) { how.crops = {{4, 1.0, 0.0}}; });
  refused("shares", [](TrainingOptions& how) { how.crops = {{16, 0.5, 0.0}}; });
  refused("likelihood", [](TrainingOptions& how) { how.weighting = Weighting::kLikelihood; });
  expect_error(ErrorKind::kBadData, "no slice", [] { Trainer(options(), gaussian(SpectralBasis::kDct), {}); });
}

}  // namespace
}  // namespace postrec::test
