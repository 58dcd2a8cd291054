#include "postrec/typicality.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "batched_vectors.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "spectrum_table.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFormat = "postrec-typicality/1";
constexpr std::int64_t kSmallestSide = 17;
constexpr double kFloor = 1e-12;                 // of the expected energy: a denoiser that makes no error at all has a logarithm, too

/// The band of each frequency of an image, int64 [H W].
at::Tensor band_of_frequency(SpectralBasis basis, std::int64_t height, std::int64_t width) {
  const at::Tensor f_y = at::tensor(axis_frequencies(basis, height), at::kDouble), f_x = at::tensor(axis_frequencies(basis, width), at::kDouble);
  const at::Tensor f = (f_y.square().unsqueeze(1) + f_x.square().unsqueeze(0)).sqrt().flatten();
  at::Tensor band = at::zeros(f.sizes(), at::kLong);
  for (std::size_t i = 1; i + 1 < std::size(kTypicalityBands); ++i) band += f.ge(kTypicalityBands[i]);
  return band;
}

/// Sums of a table [C, H, W] over the bands, in double and in a fixed order.
std::vector<double> band_sums(const at::Tensor& table, const at::Tensor& band) {
  const at::Tensor values = table.to(at::kCPU, at::kDouble).sum(0).flatten().contiguous();
  std::vector<double> sums(std::size(kTypicalityBands) - 1, 0.0);
  for (std::int64_t i = 0; i < values.numel(); ++i) sums[band.const_data_ptr<std::int64_t>()[i]] += values.const_data_ptr<double>()[i];
  return sums;
}

at::Tensor matrix_of(const std::vector<TypicalImage>& images) {
  at::Tensor rows = at::empty({static_cast<std::int64_t>(images.size()), static_cast<std::int64_t>(kTypicalityFigures)}, at::kDouble);
  for (std::size_t i = 0; i < images.size(); ++i) std::copy(images[i].misfits.begin(), images[i].misfits.end(), rows.data_ptr<double>() + i * kTypicalityFigures);
  return rows;
}

/// Mean of the rows, and the Cholesky factor of their covariance with the ridge.
std::pair<at::Tensor, at::Tensor> fit_rows(const at::Tensor& rows) {
  const at::Tensor mean = rows.mean(0), centred = rows - mean;
  const at::Tensor covariance = centred.t().matmul(centred) / static_cast<double>(rows.size(0) - 1);
  return {mean, at::linalg_cholesky(covariance + TypicalImages::kRidge * at::eye(rows.size(1), at::kDouble))};
}

/// Of each row, [n].
at::Tensor distances(const at::Tensor& rows, const at::Tensor& mean, const at::Tensor& factor) {
  const at::Tensor whitened = at::linalg_solve_triangular(factor, (rows - mean).t(), /*upper=*/false);
  return whitened.square().mean(0).sqrt();
}

/// The distance of each image from those of the other subjects.
std::vector<double> distances_among(const std::vector<TypicalImage>& images, const std::set<std::int64_t>& subjects) {
  const at::Tensor rows = matrix_of(images);
  std::vector<double> result;
  for (const std::int64_t subject : subjects) {
    std::vector<std::int64_t> own, others;
    for (std::size_t i = 0; i < images.size(); ++i) (images[i].subject == subject ? own : others).push_back(static_cast<std::int64_t>(i));
    const auto [mean, factor] = fit_rows(rows.index_select(0, at::tensor(others, at::kLong)));
    const at::Tensor found = distances(rows.index_select(0, at::tensor(own, at::kLong)), mean, factor).contiguous();
    result.insert(result.end(), found.const_data_ptr<double>(), found.const_data_ptr<double>() + found.numel());
  }
  return result;
}

void check_misfits(const std::vector<double>& misfits) {
  if (misfits.size() != kTypicalityFigures || !std::all_of(misfits.begin(), misfits.end(), [](double value) { return std::isfinite(value); }))
    throw Error(ErrorKind::kBadData, "the misfits of an image are not " + std::to_string(kTypicalityFigures) + " finite numbers", "write the typical images again");
}

}  // namespace

std::vector<double> band_misfits(const Prior& prior, const at::Tensor& x, std::uint64_t seed) {
  const at::NoGradGuard no_graph;
  const std::vector<std::int64_t> shape = x.sizes().slice(1).vec();
  if (shape[1] < kSmallestSide || shape[2] < kSmallestSide)
    throw Error(ErrorKind::kBadData, "an image of " + std::to_string(shape[1]) + "x" + std::to_string(shape[2]) + " pixels is too small to be compared by frequency",
                "at least " + std::to_string(kSmallestSide) + "x" + std::to_string(kSmallestSide));
  const double share = x.is_complex() ? 0.5 : 1.0;  // c is per real component
  std::vector<double> misfits;
  for (std::size_t level = 0; level < std::size(kTypicalitySigmas); ++level) {
    const double sigma = kTypicalitySigmas[level];
    const at::Tensor noise = RandomStreams(seed, 0, 1).normal(level + 1, shape, x.scalar_type(), x.device());
    const at::Tensor denoised = prior.denoise(linear_combination(1.0, x, sigma, noise), sigma);
    const SpectralCovariance covariance = prior.error_covariance(sigma, shape);
    const at::Tensor band = band_of_frequency(covariance.basis(), shape[1], shape[2]);
    const at::Tensor error = covariance.to_basis(linear_combination(1.0, x, -1.0, denoised))[0];
    const std::vector<double> found = band_sums(at::abs(error).to(at::kDouble).square() * share, band), expected = band_sums(covariance.eigenvalues(), band);
    for (std::size_t i = 0; i < found.size(); ++i) misfits.push_back(std::log(found[i] / expected[i] + kFloor));
  }
  if (!std::all_of(misfits.begin(), misfits.end(), [](double value) { return std::isfinite(value); }))
    throw Error(ErrorKind::kNumerical, "the denoiser's error on an image is not finite", "check that its values are in the prior's units");
  return misfits;
}

TypicalImages::TypicalImages(std::string prior_sha256, std::vector<TypicalImage> images) : prior_sha256_(std::move(prior_sha256)), images_(std::move(images)) {
  const at::NoGradGuard no_graph;
  std::set<std::int64_t> subjects;
  for (const TypicalImage& image : images_) {
    check_misfits(image.misfits);
    subjects.insert(image.subject);
  }
  if (images_.size() < kFewest || subjects.size() < 3)
    throw Error(ErrorKind::kBadData, std::to_string(images_.size()) + " typical images of " + std::to_string(subjects.size()) + " subjects",
                "at least " + std::to_string(kFewest) + " of 3, better hundreds of tens");
  std::tie(mean_, factor_) = fit_rows(matrix_of(images_));
  std::vector<double> among = distances_among(images_, subjects);
  std::sort(among.begin(), among.end());
  limit_ = among[static_cast<std::size_t>(std::ceil((1.0 - kFalseAlarms) * static_cast<double>(among.size()))) - 1];
}

double TypicalImages::distance(const std::vector<double>& misfits) const {
  const at::NoGradGuard no_graph;
  check_misfits(misfits);
  return distances(matrix_of({{0, misfits}}), mean_, factor_).item<double>();
}

void TypicalImages::save(const std::filesystem::path& path) const {
  ordered_json file = {{"format", kFormat}, {"prior_sha256", prior_sha256_}, {"sigmas", kTypicalitySigmas}, {"band_edges", kTypicalityBands}};
  std::string text = file.dump(2);
  text.erase(text.size() - 2);                   // "\n}": one image a line follows
  text += ",\n  \"images\": [";
  for (std::size_t i = 0; i < images_.size(); ++i)
    text += std::string(i == 0 ? "\n    " : ",\n    ") + ordered_json({{"subject", images_[i].subject}, {"misfits", images_[i].misfits}}).dump();
  write_text_atomically(path, text + "\n  ]\n}\n");
}

TypicalImages TypicalImages::load(const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream) throw Error(ErrorKind::kNoInput, "cannot open " + quoted_path(path), "give a file of typical images, as `postrec likelihood --write-typical` makes it");
  try {
    const auto file = ordered_json::parse(stream);
    if (file.at("format") != kFormat || file.at("sigmas") != ordered_json(kTypicalitySigmas) || file.at("band_edges") != ordered_json(kTypicalityBands))
      throw Error(ErrorKind::kBadData, "its format, noise levels or bands are others", "write the typical images again");
    std::vector<TypicalImage> images;
    for (const auto& image : file.at("images")) images.push_back({image.at("subject").get<std::int64_t>(), image.at("misfits").get<std::vector<double>>()});
    return {file.at("prior_sha256").get<std::string>(), std::move(images)};
  } catch (const Error& error) {
    throw Error(error.kind(), quoted_path(path) + ": " + error.message(), error.hint());
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::kBadData, quoted_path(path) + " is not a file of typical images", "write it with `postrec likelihood --write-typical`");
  }
}

std::filesystem::path TypicalImages::beside(const std::filesystem::path& prior) {
  std::filesystem::path path = prior;
  return path.replace_extension(".typical.json");
}

}  // namespace postrec
