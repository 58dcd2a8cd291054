#include "postrec/prior_file.hpp"

#include <ATen/ATen.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <utility>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"
#include "safetensors.hpp"

namespace postrec {
namespace {

constexpr const char* kFormat = "postrec-prior/1";
constexpr std::pair<PriorIntensity, const char*> kIntensities[] = {
    {PriorIntensity::kUnit, "unit"}, {PriorIntensity::kPercentile, "percentile"}, {PriorIntensity::kRelativeWater, "relative-water"}};
constexpr std::pair<SpectralBasis, const char*> kBases[] = {{SpectralBasis::kDft, "dft"}, {SpectralBasis::kDct, "dct"}};

template <class Value, std::size_t N>
const char* text_of(const std::pair<Value, const char*> (&names)[N], Value value) {
  for (const auto& [candidate, name] : names)
    if (candidate == value) return name;
  throw Error(ErrorKind::kInternal, "a prior has a value without a name", "");
}

/// The metadata of one prior file, with errors that name the file.
class Metadata {
 public:
  Metadata(const std::filesystem::path& path, const SafeTensors& content) : path_(path), content_(content) {}

  [[noreturn]] void refuse(const std::string& what, const std::string& hint) const {
    throw Error(ErrorKind::kBadData, "prior '" + path_.string() + "' " + what, hint);
  }

  const std::string& text(const std::string& key) const {
    const auto found = content_.metadata.find(key);
    if (found == content_.metadata.end()) refuse("has no metadata '" + key + "'", "write it with postrec train");
    return found->second;
  }

  double real(const std::string& key) const {
    const std::string& value = text(key);
    double number = 0.0;
    const auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (status != std::errc() || end != value.data() + value.size()) refuse("has metadata " + key + "='" + value + "'", "it must be a number");
    return number;
  }

  template <class Value, std::size_t N>
  Value choice(const std::string& key, const std::pair<Value, const char*> (&names)[N]) const {
    const std::string& value = text(key);
    std::string known;
    for (const auto& [candidate, name] : names) {
      if (value == name) return candidate;
      known += std::string(known.empty() ? "" : ", ") + name;
    }
    refuse("has metadata " + key + "='" + value + "'", "known are " + known);
  }

  at::Tensor tensor(const std::string& name) const {
    const auto found = content_.tensors.find(name);
    if (found == content_.tensors.end()) refuse("has no tensor '" + name + "'", "write it with postrec train");
    return found->second;
  }

 private:
  const std::filesystem::path& path_;
  const SafeTensors& content_;
};

GaussianPrior gaussian_from(const Metadata& file, PriorInfo info) {
  return GaussianPrior(file.choice("basis", kBases), file.tensor("spectrum"), file.tensor("mean"), file.real("pixel_mm"), std::move(info));
}

}  // namespace

std::unique_ptr<Prior> load_prior(const std::filesystem::path& path, double pixel_mm) {
  const SafeTensors content = read_safetensors(path);
  const Metadata file(path, content);
  if (file.text("format") != kFormat) file.refuse("has format '" + file.text("format") + "'", std::string("this program reads ") + kFormat);
  if (file.text("kind") != "gaussian") file.refuse("is of kind '" + file.text("kind") + "'", "this program knows gaussian");
  PriorInfo info;
  info.name = file.text("name");
  info.licence = file.text("licence");
  info.trained_on = file.text("trained_on");
  info.intensity = file.choice("intensity", kIntensities);
  info.sha256 = sha256_file(path);
  const GaussianPrior prior = gaussian_from(file, std::move(info));
  return std::make_unique<GaussianPrior>(pixel_mm > 0.0 && prior.pixel_mm() > 0.0 ? prior.at_pixel_size(pixel_mm) : prior);
}

void save_prior(const std::filesystem::path& path, const GaussianPrior& prior) {
  SafeTensors content;
  content.tensors = {{"spectrum", prior.spectrum()}, {"mean", prior.mean()}};
  char pixel[64];
  std::snprintf(pixel, sizeof(pixel), "%.17g", prior.pixel_mm());
  content.metadata = {{"format", kFormat}, {"kind", "gaussian"}, {"basis", text_of(kBases, prior.basis())}, {"pixel_mm", pixel},
                      {"intensity", text_of(kIntensities, prior.info().intensity)}, {"licence", prior.info().licence},
                      {"trained_on", prior.info().trained_on}, {"name", prior.info().name}};
  write_text_atomically(path, safetensors_bytes(content));
}

}  // namespace postrec
