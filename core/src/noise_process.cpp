#include "postrec/noise_process.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "postrec/error.hpp"

namespace postrec {
namespace {

using Kind = NoiseProcess::Kind;

constexpr std::pair<const char*, Kind> kNames[] = {
    {"ve", Kind::kVe}, {"vp", Kind::kVp}, {"sub-vp", Kind::kSubVp}, {"edm", Kind::kEdm}, {"ncsn", Kind::kNcsn}};

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }
double normal_quantile(double p) { return at::special_ndtri(at::scalar_tensor(p, at::kDouble)).item<double>(); }

[[noreturn]] void refuse(const std::ostringstream& message, const std::string& hint) { throw Error(ErrorKind::kUsage, message.str(), hint); }

void check(Kind kind, const NoiseProcessOptions& o) {
  std::ostringstream message;
  if (!(o.sigma_min > 0.0) || !(o.sigma_max > o.sigma_min) || !std::isfinite(o.sigma_max)) {
    message << "noise levels from sigma " << o.sigma_min << " to " << o.sigma_max;
    refuse(message, "sigma must rise and be positive and finite");
  }
  if (!(o.beta_min >= 0.0) || !(o.beta_max >= o.beta_min) || !(o.beta_max > 0.0) || !std::isfinite(o.beta_max)) {
    message << "a noise process with beta from " << o.beta_min << " to " << o.beta_max;
    refuse(message, "beta must not fall, nor be negative, and be positive at its end");
  }
  if (!std::isfinite(o.log_sigma_mean) || !(o.log_sigma_deviation > 0.0) || !std::isfinite(o.log_sigma_deviation)) {
    message << "log sigma drawn with mean " << o.log_sigma_mean << " and standard deviation " << o.log_sigma_deviation;
    refuse(message, "both must be finite, the standard deviation positive");
  }
  if (kind == Kind::kNcsn && o.n_levels < 2) {
    message << "a noise process of " << o.n_levels << " levels";
    refuse(message, "at least 2 are needed");
  }
}

}  // namespace

NoiseProcess::NoiseProcess(Kind kind, NoiseProcessOptions options) : kind_(kind), options_(options) {
  check(kind_, options_);
  const double reached = sigma(1.0);
  // VE reaches sigma_max only up to rounding.
  if ((kind_ == Kind::kVp || kind_ == Kind::kSubVp) && options_.sigma_max > reached) {
    std::ostringstream message, hint;
    message << "sigma_max " << options_.sigma_max << " with beta from " << options_.beta_min << " to " << options_.beta_max;
    hint << "these betas reach sigma " << reached;
    refuse(message, hint.str());
  }
}

double NoiseProcess::log_ratio() const { return std::log(options_.sigma_max / options_.sigma_min); }

double NoiseProcess::beta_integral(double t) const { return t * (options_.beta_min + 0.5 * t * (options_.beta_max - options_.beta_min)); }

// The root of the quadratic in the form that neither cancels nor divides by beta_max - beta_min = 0.
double NoiseProcess::time_of_beta_integral(double integral) const {
  const double slope = options_.beta_max - options_.beta_min;
  return 2.0 * integral / (options_.beta_min + std::sqrt(options_.beta_min * options_.beta_min + 2.0 * slope * integral));
}

double NoiseProcess::sigma(double t) const {
  switch (kind_) {
    case Kind::kVp: return std::sqrt(std::expm1(beta_integral(t)));
    case Kind::kSubVp: return 2.0 * std::sinh(0.5 * beta_integral(t));
    case Kind::kEdm: return options_.sigma_max * t;
    case Kind::kVe:
    case Kind::kNcsn: break;
  }
  return options_.sigma_min * std::exp(log_ratio() * t);
}

double NoiseProcess::scale(double t) const {
  return kind_ == Kind::kVp || kind_ == Kind::kSubVp ? std::exp(-0.5 * beta_integral(t)) : 1.0;
}

double NoiseProcess::g_squared(double t) const {
  const double beta = options_.beta_min + t * (options_.beta_max - options_.beta_min);
  switch (kind_) {
    case Kind::kVp: return beta * std::exp(beta_integral(t));
    case Kind::kSubVp: return 2.0 * beta * std::sinh(beta_integral(t));
    case Kind::kEdm: return 2.0 * options_.sigma_max * sigma(t);
    case Kind::kVe:
    case Kind::kNcsn: break;
  }
  return 2.0 * log_ratio() * sigma(t) * sigma(t);
}

double NoiseProcess::time(double sigma) const {
  switch (kind_) {
    case Kind::kVp: return time_of_beta_integral(std::log1p(sigma * sigma));
    case Kind::kSubVp: return time_of_beta_integral(2.0 * std::asinh(0.5 * sigma));
    case Kind::kEdm: return sigma / options_.sigma_max;
    case Kind::kVe:
    case Kind::kNcsn: break;
  }
  return std::log(sigma / options_.sigma_min) / log_ratio();
}

double NoiseProcess::sigma_of(double u) const {
  double drawn = 0.0;
  if (kind_ == Kind::kEdm) {
    const double mean = options_.log_sigma_mean, deviation = options_.log_sigma_deviation;
    const double first = normal_cdf((std::log(options_.sigma_min) - mean) / deviation);
    const double last = normal_cdf((std::log(options_.sigma_max) - mean) / deviation);
    drawn = std::exp(mean + deviation * normal_quantile(first + u * (last - first)));
  } else if (kind_ == Kind::kNcsn) {
    const int n = options_.n_levels;
    drawn = sigma(static_cast<double>(std::min(static_cast<int>(u * n), n - 1)) / (n - 1));
  } else {
    const double first = time(options_.sigma_min), last = time(options_.sigma_max);
    drawn = sigma(first + u * (last - first));
  }
  // Inversion rounds, and an infinite quantile means an end of the range.
  return std::clamp(drawn, options_.sigma_min, options_.sigma_max);
}

at::Tensor NoiseProcess::sigma_of(const at::Tensor& u) const {
  at::Tensor result = u.to(at::kCPU, at::kFloat).clone(at::MemoryFormat::Contiguous);
  float* values = result.data_ptr<float>();
  for (std::int64_t i = 0; i < result.numel(); ++i) values[i] = static_cast<float>(sigma_of(double{values[i]}));
  return result.to(u.device());
}

NoiseProcess make_noise_process(const std::string& name, NoiseProcessOptions options) {
  std::string known;
  for (const auto& [text, kind] : kNames) {
    if (name == text) return NoiseProcess(kind, options);
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw Error(ErrorKind::kUsage, "unknown noise process '" + name + "'", "known are " + known);
}

}  // namespace postrec
