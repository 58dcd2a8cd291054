#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/prior.hpp"

namespace postrec {

/// How large the denoiser's error on an image is beside what the prior says, by noise level and band of frequency: for each of kTypicalitySigmas (outer)
/// and each of kTypicalityBands (inner) the log of sum |Q^H (x - D(x + sigma n, sigma))|^2 / sum c(sigma) over the band. 0 on average over the images that
/// c(sigma) was measured on, up to the spread of the log. One evaluation of the prior a level; a statistic of several noise levels, as [Mahmood 2021].
///
/// x [1, domain] in model units. Throws Error: kBadData (smaller than 17 pixels along an axis: a band would be empty), kNumerical (the answer is not finite).
/// Law: expectation. For an image of a stationary Gaussian prior E exp(figure) = 1.
std::vector<double> band_misfits(const Prior& prior, const at::Tensor& x, std::uint64_t seed);

inline constexpr double kTypicalitySigmas[] = {0.02, 0.05, 0.1, 0.2, 0.5, 1.0};
inline constexpr double kTypicalityBands[] = {0.0, 1.0 / 32, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0};  ///< edges of |f| in cycles per pixel
inline constexpr std::size_t kTypicalityFigures = 6 * 5;

/// One image that is known to be of the prior's kind.
struct TypicalImage {
  std::int64_t subject = 0;                    ///< whose it is, as a number; images of one subject are left out together
  std::vector<double> misfits;                 ///< as band_misfits gives them
};

/// The misfits of images that are known to be of a prior's kind, and how far from them another image is.
///
/// A likelihood alone cannot tell that: smooth images of anything are likely under any prior [Nalisnick 2019]. The distance is that of Mahalanobis in the
/// misfits [Lee 2018], (d^T S^-1 d / kTypicalityFigures)^(1/2), with S their covariance plus kRidge times the unit matrix.
class TypicalImages {
 public:
  static constexpr std::size_t kFewest = 20;
  static constexpr double kRidge = 0.02;       ///< variance; that of two draws of noise in the emptiest band of a brain slice
  /// Share of images like these beyond the limit.
  static constexpr double kFalseAlarms = 0.05;

  /// Throws Error(kBadData): fewer than kFewest images, fewer than three subjects, another number of misfits, or one that is not finite.
  TypicalImages(std::string prior_sha256, std::vector<TypicalImage> images);

  double distance(const std::vector<double>& misfits) const;
  /// What 1 - kFalseAlarms of the images stay below when the others judge them: those of a subject by those of all other subjects.
  double limit() const { return limit_; }
  const std::string& prior_sha256() const { return prior_sha256_; }
  const std::vector<TypicalImage>& images() const { return images_; }

  /// A JSON file. Throws Error: as write_text_atomically; load: kNoInput, kBadData (not such a file, or as the constructor), naming it.
  void save(const std::filesystem::path& path) const;
  static TypicalImages load(const std::filesystem::path& path);
  /// Where a prior's typical images are looked for: ct.safetensors, ct.typical.json.
  static std::filesystem::path beside(const std::filesystem::path& prior);

 private:
  std::string prior_sha256_;
  std::vector<TypicalImage> images_;
  at::Tensor mean_;                            ///< double [figures]
  at::Tensor factor_;                          ///< double, lower triangular; S = factor factor^T
  double limit_ = 0.0;
};

}  // namespace postrec
