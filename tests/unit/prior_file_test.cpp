#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "expect_error.hpp"
#include "networks.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/random.hpp"
#include "postrec/sha256.hpp"
#include "temp_folder.hpp"

namespace postrec::test {
namespace {

namespace fs = std::filesystem;

class PriorFile : public ::testing::Test {
 protected:
  static GaussianPrior example() {
    PriorInfo info{"brain", "CC-BY-4.0", "twelve heads, \"quoted\" and \xc3\xa9", PriorIntensity::kPercentile, ""};
    return GaussianPrior(SpectralBasis::kDct, RandomStreams(1, 0, 2).uniform(0, {6, 7}) + 0.1, at::tensor({0.25f, -0.5f}), 0.9, info);
  }
  static std::string read(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  void write(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }
  /// A file with this header and data.
  void write(const std::string& header, const std::string& data) {
    const std::uint64_t length = header.size();
    write(std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
  }
  void expect_refused(const std::string& named) {
    expect_error(ErrorKind::kBadData, named, [&] { load_prior(path_); });
    expect_error(ErrorKind::kBadData, path_.string(), [&] { load_prior(path_); });
  }

  TempFolder folder_;
  fs::path path_ = folder_ / "prior.safetensors";
};

constexpr const char* kMetadata =
    R"("__metadata__":{"format":"postrec-prior/1","kind":"gaussian","basis":"dct","pixel_mm":"1","intensity":"unit","licence":"l","trained_on":"t","name":"n"})";
std::string header_with(const std::string& tensors, std::string metadata = kMetadata) { return "{" + metadata + "," + tensors + "}"; }
constexpr const char* kGood = R"("mean":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"spectrum":{"dtype":"F32","shape":[1,2,2],"data_offsets":[4,20]})";
std::string floats(const std::vector<float>& values) { return std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4); }
const std::vector<float> kValues = {0, 1, 1, 1, 1};

TEST_F(PriorFile, RoundTrip) {
  const GaussianPrior prior = example();
  save_prior(path_, prior);
  const auto loaded = load_prior(path_);
  const auto& gaussian = dynamic_cast<const GaussianPrior&>(*loaded);
  EXPECT_EQ(gaussian.basis(), prior.basis());
  EXPECT_TRUE(at::equal(gaussian.spectrum(), prior.spectrum()));
  EXPECT_TRUE(at::equal(gaussian.mean(), prior.mean()));
  EXPECT_EQ(gaussian.pixel_mm(), prior.pixel_mm());
  EXPECT_EQ(gaussian.info().name, prior.info().name);
  EXPECT_EQ(gaussian.info().licence, prior.info().licence);
  EXPECT_EQ(gaussian.info().trained_on, prior.info().trained_on);
  EXPECT_EQ(gaussian.info().intensity, prior.info().intensity);
  EXPECT_EQ(gaussian.info().sha256, sha256_file(path_));
  EXPECT_EQ(gaussian.info().channels, "intensity, intensity");
  // Nothing but the file is left in the folder.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(PriorFile, NetworkRoundTrip) {
  for (const auto& [basis, channels, meaning] : {std::tuple(SpectralBasis::kDft, 1, "real, imaginary"), {SpectralBasis::kDct, 3, "red, green, blue"}}) {
    const NetworkPrior prior = small_network_prior(basis, channels);
    save_prior(path_, prior);
    const auto loaded = load_prior(path_, 1.5);
    const auto& network = dynamic_cast<const NetworkPrior&>(*loaded);
    EXPECT_EQ(network.domain(), prior.domain());
    EXPECT_EQ(network.range().minimum, prior.range().minimum);
    EXPECT_EQ(network.range().maximum, prior.range().maximum);
    EXPECT_EQ(network.info().channels, meaning);
    EXPECT_EQ(network.info().training, prior.info().training);
    EXPECT_EQ(network.info().licence, prior.info().licence);
    EXPECT_EQ(network.info().sha256, sha256_file(path_));
    const at::Tensor x_t = RandomStreams(3, 0, 2).normal(0, {channels, 13, 18}, prior.domain().dtype);
    EXPECT_TRUE(at::equal(network.denoise(x_t, 0.4), prior.denoise(x_t, 0.4)));
    EXPECT_TRUE(at::equal(network.error_covariance(0.4, {channels, 13, 18}).eigenvalues(), prior.error_covariance(0.4, {channels, 13, 18}).eigenvalues()));
    EXPECT_TRUE(network.error_covariance_around(x_t, 0.4).has_envelope());
    EXPECT_TRUE(at::equal(network.error_covariance_around(x_t, 0.4).apply_factor(x_t), prior.error_covariance_around(x_t, 0.4).apply_factor(x_t)));
  }
}

// Files from before them hold none.
TEST_F(PriorFile, EnvelopeAndCorrectionMayBeAbsent) {
  const NetworkPrior with = small_network_prior(SpectralBasis::kDct, 1);
  const NetworkPrior without(with.network(), ErrorTable(SpectralBasis::kDct, with.errors().sigmas(), with.errors().eigenvalues()), with.range(), with.info());
  save_prior(path_, without);
  const auto loaded = load_prior(path_);
  EXPECT_FALSE(loaded->error_covariance_around(at::ones({1, 1, 9, 9}), 0.4).has_envelope());
  const at::Tensor x_t = RandomStreams(3, 0, 1).normal(0, {1, 9, 9}, at::kFloat);
  EXPECT_TRUE(at::equal(loaded->denoise(x_t, 0.4), without.denoise(x_t, 0.4)));
  EXPECT_TRUE(at::equal(with.errors().corrected(x_t, loaded->denoise(x_t, 0.4), 0.4), with.denoise(x_t, 0.4)));
  EXPECT_FALSE(at::equal(loaded->denoise(x_t, 0.4), with.denoise(x_t, 0.4)));
}

TEST_F(PriorFile, IncompleteFactsAreNotSaved) {
  PriorInfo complete{"n", "l", "t", PriorIntensity::kUnit, "", "", "how"};
  const auto refuse = [&](std::string PriorInfo::*fact, const std::string& named, bool is_network) {
    PriorInfo info = complete;
    info.*fact = " ";
    expect_error(ErrorKind::kBadData, named, [&] { require_complete(info, is_network); });
  };
  for (const bool is_network : {false, true}) {
    require_complete(complete, is_network);
    refuse(&PriorInfo::name, "name", is_network);
    refuse(&PriorInfo::licence, "licence", is_network);
    refuse(&PriorInfo::trained_on, "training data", is_network);
  }
  refuse(&PriorInfo::training, "how it was trained", true);
  complete.licence = "";
  expect_error(ErrorKind::kBadData, "licence", [&] { save_prior(path_, GaussianPrior(SpectralBasis::kDct, at::ones({1, 4, 4}), at::zeros({1}), 0.0, complete)); });
  complete.licence = "l";
  complete.channels = "one, two";
  expect_error(ErrorKind::kBadData, "one, two", [&] { save_prior(path_, GaussianPrior(SpectralBasis::kDct, at::ones({1, 4, 4}), at::zeros({1}), 0.0, complete)); });
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(PriorFile, AdaptsToThePixelSize) {
  save_prior(path_, example());
  const auto loaded = load_prior(path_, 1.8);
  EXPECT_EQ(dynamic_cast<const GaussianPrior&>(*loaded).pixel_mm(), 1.8);
  EXPECT_TRUE(at::equal(dynamic_cast<const GaussianPrior&>(*loaded).spectrum(), example().at_pixel_size(1.8).spectrum()));
}

// What the shipped Gaussians of the first release look like.
TEST_F(PriorFile, TheFirstFormatIsAccepted) {
  write(header_with(kGood), floats(kValues));
  EXPECT_EQ(load_prior(path_)->info().name, "n");
}

TEST_F(PriorFile, MissingOrNoFile) {
  expect_error(ErrorKind::kNoInput, path_.string(), [&] { load_prior(path_); });
  expect_error(ErrorKind::kNoInput, folder_.path().string(), [&] { load_prior(folder_.path()); });
}

TEST_F(PriorFile, EveryTruncationIsRefused) {
  save_prior(path_, example());
  const std::string bytes = read(path_);
  for (std::size_t length = 0; length < bytes.size(); length += 1 + length / 40) {
    write(bytes.substr(0, length));
    expect_error(ErrorKind::kBadData, path_.string(), [&] { load_prior(path_); });
  }
  write(bytes + "x");
  expect_refused("belong to no tensor");
}

TEST_F(PriorFile, HugeHeaderIsRefused) {
  write(std::string(8, '\xff') + "{}");
  expect_refused("claims a header");
}

TEST_F(PriorFile, BadJsonIsRefused) {
  write("{\"a\":", "");
  expect_refused("not a JSON object");
  write("[1,2]", "");
  expect_refused("not a JSON object");
  write(std::string(100000, '['), "");
  expect_refused("nested too deep");
  write(R"({"a":{"b":{"c":{"d":{"e":{"f":1}}}}}})", "");
  expect_refused("nested too deep");
}

TEST_F(PriorFile, BadTensorsAreRefused) {
  const std::string data = floats(kValues);
  const auto refuse = [&](const std::string& tensors, const std::string& named) {
    write(header_with(tensors), data);
    expect_refused(named);
  };
  const std::string mean = R"("mean":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  refuse(mean + R"("spectrum":{"dtype":"F16","shape":[1,2,4],"data_offsets":[4,20]})", "type F32");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,2,2],"data_offsets":[0,16]})", "overlaps");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,1,3],"data_offsets":[8,20]})", "gap");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,2,2],"data_offsets":[8,24]})", "outside the file");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,2,2],"data_offsets":[20,4]})", "outside the file");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,2,3],"data_offsets":[4,20]})", "as many bytes");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[4,20]})", "larger than the file");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,-2,2],"data_offsets":[4,20]})", "no valid shape");
  refuse(mean + R"("spectrum":{"dtype":"F32","shape":[1,2,2],"data_offsets":[4]})", "no valid shape");
  refuse(mean + R"("spectrum":7)", "no valid shape");
  refuse(R"("mean":{"dtype":"F32","shape":[5],"data_offsets":[0,20]})", "no tensor 'spectrum'");
  write(header_with(kGood), floats({0, 1, NAN, 1, 1}));
  expect_refused("NaN");
  write(header_with(kGood), floats({0, 1, -1, 1, 1}));
  expect_error(ErrorKind::kBadData, "not positive", [&] { load_prior(path_); });
}

TEST_F(PriorFile, MissingOrUnknownMetadataIsRefused) {
  for (const std::string key : {"format", "kind", "basis", "pixel_mm", "intensity", "licence", "trained_on", "name"}) {
    std::string metadata = kMetadata;
    const std::size_t at = metadata.find("\"" + key + "\"");
    metadata[at + 1] = '_';
    write(header_with(kGood, metadata), floats(kValues));
    expect_refused("'" + key + "'");
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string metadata = kMetadata;
    write(header_with(kGood, metadata.replace(metadata.find(from), from.size(), to)), floats(kValues));
  };
  replaced("postrec-prior/1", "postrec-prior/3");
  expect_refused("postrec-prior/3");
  replaced("postrec-prior/1", "postrec-prior/2");  // which says more than the first format did
  expect_refused("'channels'");
  replaced("gaussian", "oracle");
  expect_refused("oracle");
  replaced("\"dct\"", "\"haar\"");
  expect_refused("known are dft, dct");
  replaced("\"pixel_mm\":\"1\"", "\"pixel_mm\":\"1mm\"");
  expect_refused("must be a number");
  replaced("\"pixel_mm\":\"1\"", "\"pixel_mm\":1");
  expect_refused("not text");
}

TEST_F(PriorFile, CannotCreate) {
  const fs::path nowhere = folder_ / "missing" / "prior.safetensors";
  expect_error(ErrorKind::kCannotCreate, nowhere.string(), [&] { save_prior(nowhere, example()); });
  // A folder in the file's place: what was there stays, no temporary file is left.
  fs::create_directories(path_ / "inside");
  expect_error(ErrorKind::kCannotCreate, path_.string(), [&] { save_prior(path_, example()); });
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

}  // namespace
}  // namespace postrec::test
