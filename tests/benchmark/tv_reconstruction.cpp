// Total-variation reconstruction of a simulated measurement: the peer without training that the priors are to beat.
//
//   postrec_tv MEASUREMENT SCAN SLICE FOLDER [ITERATIONS]
//
// MEASUREMENT is the folder that `postrec simulate` made of slice SLICE of SCAN; that slice is the truth, and the quality is what
// `postrec reconstruct` writes into run.json. In model units and with an operator of norm 1 it minimises
//   1/2 ||A x - y||^2 + lambda sum_pixels sqrt(|d_row x|^2 + |d_column x|^2),   d: forward differences, 0 at the far border,
// isotropic, real and imaginary parts of a complex image together, by the primal-dual method [Chambolle 2011]. The strength lambda / sigma_y
// falls from 1 by factors of sqrt 2, each from the solution of the one before, until the PSNR has fallen twice running. The best one is
// thus chosen by the truth, which no reconstruction has: the most that TV can do, not what it does in use. There is no bound x >= 0: air in HU
// lies below it. FOLDER gets tv.json, with the PSNR at half the iterations (2000 by default) beside that at all, and the best image, tv.nii.gz.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "case/case.hpp"
#include "cli/run_main.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/error.hpp"
#include "postrec/summary.hpp"
#include "result/quality.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

const double kStrengthFactor = std::sqrt(0.5);
constexpr int kFallsToStop = 2;
constexpr int kIterations = 2000;  // the PSNR of the CT case moves by less than 0.02 dB in the second half; MRI needs a tenth

/// Forward differences of [1, C, H, W] along rows and columns, 0 at the far border: [2, C, H, W].
at::Tensor differences(const at::Tensor& x) {
  const std::int64_t height = x.size(2), width = x.size(3);
  at::Tensor g = at::zeros({2, x.size(1), height, width}, x.options());
  g[0].narrow(1, 0, height - 1).copy_((x.narrow(2, 1, height - 1) - x.narrow(2, 0, height - 1)).squeeze(0));
  g[1].narrow(2, 0, width - 1).copy_((x.narrow(3, 1, width - 1) - x.narrow(3, 0, width - 1)).squeeze(0));
  return g;
}

/// Its transpose, [2, C, H, W] -> [1, C, H, W].
at::Tensor differences_transposed(const at::Tensor& g) {
  const std::int64_t height = g.size(2), width = g.size(3);
  at::Tensor x = at::zeros({g.size(1), height, width}, g.options());
  const at::Tensor rows = g[0].narrow(1, 0, height - 1), columns = g[1].narrow(2, 0, width - 1);
  x.narrow(1, 1, height - 1).add_(rows);
  x.narrow(1, 0, height - 1).sub_(rows);
  x.narrow(2, 1, width - 1).add_(columns);
  x.narrow(2, 0, width - 1).sub_(columns);
  return x.unsqueeze(0);
}

/// The nearest vectors of at most this length, over the first axis.
at::Tensor shortened(const at::Tensor& vectors, double length) {
  return vectors / (vectors.abs().square().sum(0, true).sqrt() / length).clamp_min(1.0);
}

/// y = A x + n as the minimisation sees it: A of norm 1 at most, x about 1.
struct Problem {
  std::shared_ptr<const Operator> op;
  double norm;
  IntensityScale scale;
  at::Tensor y;                                ///< [1, codomain]
  at::Tensor start;                            ///< [1, domain], the direct reconstruction
  double sigma_y;

  at::Tensor forward(const at::Tensor& x) const { return op->forward(x) / norm; }
  at::Tensor adjoint(const at::Tensor& v) const { return op->adjoint(v) / norm; }
};

Problem problem_of(const Measurement& measurement, std::shared_ptr<const Operator> op) {
  const at::Tensor direct = op->pseudo_inverse(measurement.y);
  const PriorIntensity intensity = measurement.unit == IntensityUnit::kHounsfield ? PriorIntensity::kRelativeWater : PriorIntensity::kPercentile;
  const IntensityScale scale = IntensityScale::make(measurement.unit, intensity, direct);
  const double norm = op->norm_bound(), unit = scale.scale * norm;
  return {std::move(op), norm, scale, measurement.y / unit, direct / scale.scale, measurement.sigma_y / unit};
}

/// Algorithm 1 of [Chambolle 2011] with K = (A, differences / sqrt 8). Each part has norm 1 at most, so tau sigma ||K||^2 <= 1.
class PrimalDual {
 public:
  explicit PrimalDual(const Problem& problem)
      : problem_(problem), x_(problem.start), extrapolated_(x_), residual_(at::zeros_like(problem.y)), slope_(at::zeros_like(differences(x_))) {}

  /// Goes on from where it stands, with this lambda.
  void iterate(double lambda, int n_iterations) {
    for (int i = 0; i < n_iterations; ++i) step(lambda);
  }

  const at::Tensor& x() const { return x_; }

 private:
  static constexpr double kStepRatio = 10.0;   ///< sqrt(tau / sigma): of 1 to 100 the fastest for CT, where it matters most; any converges

  void step(double lambda) {
    static const double kDifferencesNorm = std::sqrt(8.0), kNorm = std::sqrt(2.0);
    const double tau = kStepRatio / kNorm, sigma = 1.0 / (kStepRatio * kNorm);
    residual_ = (residual_ + sigma * (problem_.forward(extrapolated_) - problem_.y)) / (1.0 + sigma);
    slope_ = shortened(slope_ + sigma / kDifferencesNorm * differences(extrapolated_), kDifferencesNorm * lambda);
    const at::Tensor next = x_ - tau * (problem_.adjoint(residual_) + differences_transposed(slope_) / kDifferencesNorm);
    extrapolated_ = 2.0 * next - x_;
    x_ = next;
  }

  const Problem& problem_;
  at::Tensor x_, extrapolated_;
  at::Tensor residual_;                        ///< dual variable of A x
  at::Tensor slope_;                           ///< dual variable of the differences
};

/// The truth as stored, [1, C, H, W].
at::Tensor read_truth(const fs::path& scan, const std::string& slice, const Operator& op) {
  if (slice.empty() || slice.find_first_not_of("0123456789") != std::string::npos)
    throw Error(ErrorKind::kUsage, "slice '" + slice + "' is no number", "give the one that was simulated, counted from 0");
  const at::Tensor truth = read_scan(scan, {std::stoll(slice), ""}).image.pixels;
  if (truth.sizes().slice(1) != at::IntArrayRef(op.domain().shape))
    throw Error(ErrorKind::kConfiguration, "slices of " + quoted_path(scan) + " have another shape than the measured image", "give the scan that was simulated");
  return truth;
}

struct Best {
  ordered_json entry;
  at::Tensor image;                            ///< [1, C, H, W] as stored
};

/// Tries strength after strength, prints a line for each and adds it to `grid`.
Best best_of(const Problem& problem, const at::Tensor& truth, IntensityUnit unit, int n_iterations, ordered_json& grid) {
  PrimalDual minimisation(problem);
  const auto image = [&] { return problem.scale.model_to_stored(displayed(minimisation.x())); };
  const auto quality = [&] { return judge({image()}, truth, unit)["mean"]; };
  Best best;
  int falls = 0;
  double previous = -INFINITY;
  for (double strength = 1.0; falls < kFallsToStop; strength *= kStrengthFactor) {
    minimisation.iterate(strength * problem.sigma_y, n_iterations / 2);
    const double psnr_at_half = quality()["psnr_db"];
    minimisation.iterate(strength * problem.sigma_y, n_iterations - n_iterations / 2);
    const ordered_json figures = quality();
    const double psnr = figures["psnr_db"];
    grid.push_back({{"strength", strength}, {"quality", figures}, {"psnr_db_at_half", psnr_at_half}});
    std::printf("lambda / sigma_y %7.4f   PSNR %6.2f dB (at half the iterations %6.2f)   SSIM %.3f\n", strength, psnr, psnr_at_half, figures["ssim"].get<double>());
    std::fflush(stdout);
    if (!best.image.defined() || psnr > best.entry["quality"]["psnr_db"].get<double>()) best = {grid.back(), image()};
    falls = psnr < previous ? falls + 1 : 0;
    previous = psnr;
  }
  return best;
}

int iterations_of(const std::string& text) {
  const bool number = !text.empty() && text.size() < 8 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!number || std::stoi(text) < 2) throw Error(ErrorKind::kUsage, "'" + text + "' iterations", "give a number of at least 2");
  return std::stoi(text);
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 4 || arguments.size() > 5)
    throw Error(ErrorKind::kUsage, std::to_string(arguments.size()) + " arguments", "postrec_tv MEASUREMENT SCAN SLICE FOLDER [ITERATIONS]");
  const fs::path folder = arguments[3];
  const int n_iterations = arguments.size() == 5 ? iterations_of(arguments[4]) : kIterations;
  PluginSearch search;
  search.folders = PluginSearch::default_folders({});
  PluginRegistry registry(search);
  CaseOptions request;
  request.input = arguments[0];
  const Case input = read_case(request, registry);
  const Measurement& measurement = input.measurement;
  if (measurement.y.size(0) != 1) throw Error(ErrorKind::kUsage, quoted_path(arguments[0]) + " holds several slices", "simulate one with --slice");
  const auto op = make_operator(registry, measurement, 0);
  const at::Tensor truth = read_truth(arguments[1], arguments[2], *op);

  ordered_json grid = ordered_json::array();
  const Best best = best_of(problem_of(measurement, op), truth, measurement.unit, n_iterations, grid);
  fs::create_directories(folder);
  write_nifti(folder / "tv.nii.gz", Image{best.image, measurement.geometry, measurement.unit});
  const ordered_json result = {{"iterations", n_iterations}, {"best", best.entry}, {"grid", grid}};
  write_text_atomically(folder / "tv.json", result.dump(2) + "\n");
  return 0;
}

}  // namespace
}  // namespace postrec

int main(int argc, char** argv) { return postrec::run_main(argc, argv, postrec::run); }
