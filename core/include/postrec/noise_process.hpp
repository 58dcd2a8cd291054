#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "postrec/prior.hpp"

namespace postrec {

/// What a noise process can be told. sigma_min and sigma_max bound the levels that training draws, whatever the process;
/// the rest is read by the process that it names. Defaults are those of the papers.
struct NoiseProcessOptions {
  double sigma_min = 0.002;                    ///< [Karras 2022, table 1]
  double sigma_max = 80.0;
  double beta_min = 0.1;                       ///< VP, sub-VP [Song 2021, appendix C]
  double beta_max = 20.0;
  double log_sigma_mean = -1.2;                ///< EDM: P_mean [Karras 2022, table 1]
  double log_sigma_deviation = 1.2;            ///< EDM: P_std
  int n_levels = 232;                          ///< NCSN [Song 2020, technique 2]
};

/// A noise process of the literature in the one internal convention: x'_t = scale(t) (x + sigma(t) n), n ~ N(0, I), t in [0, 1], sigma increasing.
///
/// With B = beta_min t + (beta_max - beta_min) t^2 / 2 and r = sigma_max / sigma_min:
///
/// | kind   | sigma(t)        | scale(t)   | g^2 = d sigma^2/dt  | training draws               | source                                   |
/// |--------|-----------------|------------|---------------------|------------------------------|------------------------------------------|
/// | VE     | sigma_min r^t   | 1          | 2 log(r) sigma^2    | t uniform                    | [Song 2021, eq. 30, 31]                  |
/// | VP     | (e^B - 1)^(1/2) | e^(-B/2)   | beta e^B            | t uniform                    | [Song 2021, eq. 32, 33]                  |
/// | sub-VP | 2 sinh(B/2)     | e^(-B/2)   | 2 beta sinh(B)      | t uniform                    | [Song 2021, eq. 12, 29]                  |
/// | EDM    | sigma_max t     | 1          | 2 sigma_max sigma   | log sigma normal             | [Karras 2022, table 1]                   |
/// | NCSN   | as VE           | 1          | as VE               | sigma_min r^(i/(L-1)), any i | [Song 2019, section 4.1; Song 2021, 3.4] |
///
/// g^2 is the diffusion of x + sigma n; that of x'_t itself is scale^2 g^2 [Karras 2022, eq. 4].
class NoiseProcess {
 public:
  enum class Kind { kVe, kVp, kSubVp, kEdm, kNcsn };

  /// Throws Error(kUsage) on options that make no process; for VP and sub-VP that includes a sigma_max which the betas do not reach.
  NoiseProcess(Kind kind, NoiseProcessOptions options);

  Kind kind() const { return kind_; }
  const NoiseProcessOptions& options() const { return options_; }

  /// The levels that training draws, and so those that a network learns.
  SigmaRange range() const { return {options_.sigma_min, options_.sigma_max}; }

  double sigma(double t) const;
  double scale(double t) const;
  double g_squared(double t) const;

  /// The t with sigma(t) = sigma.
  double time(double sigma) const;

  /// The noise level that training draws for a uniform number u in [0, 1]; increasing in u, from sigma_min to sigma_max.
  /// t uniform means uniform between time(sigma_min) and time(sigma_max); EDM's normal is cut at the ends of the range.
  double sigma_of(double u) const;

  /// The same for uniform numbers of any shape, float32, one by one: the bits of one do not depend on the others.
  at::Tensor sigma_of(const at::Tensor& u) const;

 private:
  double log_ratio() const;
  double beta_integral(double t) const;
  double time_of_beta_integral(double integral) const;

  Kind kind_;
  NoiseProcessOptions options_;
};

/// "ve", "vp", "sub-vp", "edm" or "ncsn". Throws Error(kUsage) on another name, and as the constructor does.
NoiseProcess make_noise_process(const std::string& name, NoiseProcessOptions options);

}  // namespace postrec
