#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace postrec {

/// dy/du = f(u, y) and how closely it is to be followed.
struct OdeProblem {
  /// f: writes dy, which has the size of y.
  std::function<void(double u, const std::vector<double>& y, std::vector<double>& dy)> derivative;
  /// The error of a step that begins at u with the derivative dy, in units of what is tolerated: at most 1 is accepted.
  std::function<double(double u, const std::vector<double>& dy, const std::vector<double>& error)> error;
  /// Called at each accepted u; false ends the integration there.
  std::function<bool(double u)> proceed;
};

struct OdeReport {
  std::int64_t n_evaluations = 0;
  std::int64_t n_steps = 0;                    ///< accepted
  std::int64_t n_rejected = 0;
  double u = 0.0;                              ///< where it ended: u_end, or before when proceed() said so or max_steps were tried
};

/// Takes y from u_begin to u_end, in place, by the pair of orders 5 and 4 whose last stage is the next step's first. [Dormand 1980, table 2]
/// Plain loops in double, so that the result depends on nothing but the problem.
OdeReport integrate(const OdeProblem& problem, double u_begin, double u_end, std::vector<double>& y, double first_step, int max_steps);

}  // namespace postrec
