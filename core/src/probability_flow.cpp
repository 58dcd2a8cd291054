#include "postrec/probability_flow.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "runge_kutta.hpp"

namespace postrec {
namespace {

constexpr double kFirstStep = 0.1;             // of log sigma; the solver grows or shrinks it at once
constexpr std::int64_t kProgressParts = 1000;

using Vector = std::vector<double>;

double mean_product(const Vector& a, const Vector& b, std::int64_t first, std::int64_t n) {
  double sum = 0.0;
  for (std::int64_t i = first; i < first + n; ++i) sum += a[i] * b[i];
  return sum / static_cast<double>(n);
}

/// The flow of one image as an equation in u = log sigma. y holds the real components of x, then for each probe the integral of the divergence
/// over the number of components.
class FlowEquation {
 public:
  FlowEquation(const Prior& prior, const at::Tensor& x, const at::Tensor& probes, SigmaRange levels)
      : prior_(prior), like_(x), probes_(probes), levels_(levels), n_(real_components(x)), n_probes_(probes.defined() ? probes.size(0) : 0) {
    for (std::int64_t p = 0; p < n_probes_; ++p) squared_probes_.push_back(dots(probe(p), probe(p))[0]);
  }

  Vector state(const at::Tensor& x) const {
    const at::Tensor values = real_view(x).to(at::kCPU, at::kDouble).contiguous();
    Vector y(values.const_data_ptr<double>(), values.const_data_ptr<double>() + n_);
    y.resize(n_ + n_probes_, 0.0);
    return y;
  }

  at::Tensor image(const Vector& y) const {
    const at::Tensor values = at::from_blob(const_cast<double*>(y.data()), {n_}, at::kDouble).to(at::kFloat).to(like_.device());
    const at::Tensor shaped = values.view(real_view(like_).sizes());
    return like_.is_complex() ? at::view_as_complex(shaped) : shaped;
  }

  Vector divergence(const Vector& y) const { return {y.begin() + n_, y.end()}; }

  double sigma(double u) const { return std::clamp(std::exp(u), levels_.minimum, levels_.maximum); }

  void derivative(double u, const Vector& y, Vector& dy) const {
    const c10::InferenceMode with_graphs(false);
    const at::AutoGradMode graph(n_probes_ > 0);
    const at::Tensor x = image(y).requires_grad_(n_probes_ > 0), denoised = prior_.denoise(x, sigma(u));
    if (n_probes_ > 0 && !denoised.requires_grad())
      throw Error(ErrorKind::kUnavailable, "prior '" + prior_.info().name + "' cannot be differentiated", "choose a prior whose denoiser leaves a graph");
    if (!std::isfinite(dots(denoised.detach(), denoised.detach())[0]))
      throw Error(ErrorKind::kNumerical, "prior '" + prior_.info().name + "' gives an image that is not finite at sigma " + std::to_string(sigma(u)),
                  "check the image and the noise range");
    const at::Tensor values = real_view(denoised.detach()).cpu().contiguous();
    const float* d = values.const_data_ptr<float>();
    for (std::int64_t i = 0; i < n_; ++i) dy[i] = y[i] - double{d[i]};
    for (std::int64_t p = 0; p < n_probes_; ++p) {
      const at::Tensor product = torch::autograd::grad({denoised}, {x}, {probe(p)}, /*retain_graph=*/p + 1 < n_probes_)[0];
      dy[n_ + p] = (squared_probes_[p] - dots(probe(p), product)[0]) / static_cast<double>(n_);
    }
  }

  /// An error e of x changes the log-density by e times the score (D - x)/sigma^2, one of the integral by itself.
  double error(double u, const Vector& dy, const Vector& e, const FlowOptions& options) const {
    const double level = sigma(u), of_x = std::sqrt(mean_product(e, e, 0, n_)) / (options.rtol * level);
    if (n_probes_ == 0) return of_x;
    const double nats = std::abs(mean_product(e, dy, 0, n_)) / (level * level) + std::sqrt(mean_product(e, e, n_, n_probes_));
    return std::max(of_x, nats / (options.atol * std::numbers::ln2));
  }

 private:
  at::Tensor probe(std::int64_t p) const { return probes_.narrow(0, p, 1); }

  const Prior& prior_;
  at::Tensor like_;
  at::Tensor probes_;
  SigmaRange levels_;
  std::int64_t n_;
  std::int64_t n_probes_;
  Vector squared_probes_;
};

void check(const Prior& prior, const at::Tensor& x, double from, double to, const at::Tensor& probes) {
  if (!(from > 0.0 && to > 0.0 && std::isfinite(from) && std::isfinite(to)))
    throw Error(ErrorKind::kUsage, "a flow from sigma " + std::to_string(from) + " to " + std::to_string(to), "noise levels must be positive");
  const TensorSpec domain = prior.domain();
  bool fits = x.dim() > 1 && x.size(0) == 1 && x.scalar_type() == domain.dtype && x.dim() == static_cast<std::int64_t>(domain.shape.size()) + 1;
  for (std::size_t i = 0; fits && i < domain.shape.size(); ++i) fits = domain.shape[i] == -1 || domain.shape[i] == x.size(i + 1);
  if (!fits) throw Error(ErrorKind::kBadData, "prior '" + prior.info().name + "' cannot denoise images of this shape or type", "give one image of its kind");
  if (probes.defined() && (probes.sizes().slice(1) != x.sizes().slice(1) || probes.scalar_type() != x.scalar_type()))
    throw Error(ErrorKind::kBadData, "the probes of a flow differ from its image in shape or type", "make them like the image");
}

}  // namespace

void FlowOptions::validate() const {
  const auto require = [](bool good, const std::string& option, const std::string& value, const std::string& hint) {
    if (!good) throw Error(ErrorKind::kUsage, "flow option " + option + " is " + value, hint);
  };
  require(rtol > 0.0 && rtol < 1.0, "rtol", std::to_string(rtol), "it must lie between 0 and 1");
  require(atol > 0.0 && std::isfinite(atol), "atol", std::to_string(atol), "it must be positive");
  require(max_steps >= 1, "max_steps", std::to_string(max_steps), "at least 1 is needed");
}

FlowResult follow_flow(const Prior& prior, const at::Tensor& x, double sigma_from, double sigma_to, const at::Tensor& probes,
                       const FlowOptions& options, Observer& observer) {
  options.validate();
  check(prior, x, sigma_from, sigma_to, probes);
  const double u_begin = std::log(sigma_from), u_end = std::log(sigma_to);
  const FlowEquation equation(prior, x, probes, {std::min(sigma_from, sigma_to), std::max(sigma_from, sigma_to)});

  FlowResult result;
  OdeProblem problem;
  problem.derivative = [&](double u, const Vector& y, Vector& dy) { equation.derivative(u, y, dy); };
  problem.error = [&](double u, const Vector& dy, const Vector& error) { return equation.error(u, dy, error, options); };
  problem.proceed = [&](double u) {
    const auto done = static_cast<std::int64_t>(std::lround(kProgressParts * (u - u_begin) / (u_end - u_begin)));
    observer.on_step({done, kProgressParts, equation.sigma(u), 0.0});
    result.interrupted = u != u_end && observer.cancelled();
    return !result.interrupted;
  };
  Vector y = equation.state(x);
  const OdeReport report = integrate(problem, u_begin, u_end, y, kFirstStep, options.max_steps);
  if (report.u != u_end && !result.interrupted)
    throw Error(ErrorKind::kNumerical, "the flow of prior '" + prior.info().name + "' from sigma " + std::to_string(sigma_from) + " has come to " +
                std::to_string(std::exp(report.u)) + " of " + std::to_string(sigma_to) + " in " + std::to_string(options.max_steps) + " steps",
                "use a larger tolerance, or allow more steps");
  result.x = equation.image(y);
  result.sigma = result.interrupted ? equation.sigma(report.u) : sigma_to;
  result.divergence = equation.divergence(y);
  result.nfe = report.n_evaluations;
  result.n_steps = report.n_steps;
  result.n_rejected = report.n_rejected;
  return result;
}

}  // namespace postrec
