#include "runge_kutta.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace postrec {
namespace {

constexpr int kStages = 7;
constexpr std::array<double, kStages> kNodes = {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
// Row i makes stage i; the last one is the solution of order 5 as well.
constexpr double kWeights[kStages][kStages - 1] = {{},
                                                   {1.0 / 5},
                                                   {3.0 / 40, 9.0 / 40},
                                                   {44.0 / 45, -56.0 / 15, 32.0 / 9},
                                                   {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
                                                   {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
                                                   {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
// Order 5 minus order 4.
constexpr std::array<double, kStages> kError = {71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

constexpr double kSafety = 0.9, kShrinkMost = 0.2, kGrowMost = 5.0, kSmallestSize = 1e-9;

using Vector = std::vector<double>;

void add(Vector& y, double factor, const Vector& k) {
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * k[i];
}

}  // namespace

OdeReport integrate(const OdeProblem& problem, double u_begin, double u_end, Vector& y, double first_step, int max_steps) {
  OdeReport report;
  std::array<Vector, kStages> k;
  for (Vector& stage : k) stage.assign(y.size(), 0.0);
  Vector next, error;
  double& u = report.u = u_begin;
  double h = std::copysign(first_step, u_end - u_begin);
  problem.derivative(u, y, k[0]);
  report.n_evaluations = 1;
  while (u != u_end && report.n_steps + report.n_rejected < max_steps) {
    const bool last = std::abs(h) >= std::abs(u_end - u);
    if (last) h = u_end - u;
    for (int stage = 1; stage < kStages; ++stage) {
      next = y;
      for (int i = 0; i < stage; ++i) add(next, h * kWeights[stage][i], k[i]);
      problem.derivative(u + kNodes[stage] * h, next, k[stage]);
    }
    report.n_evaluations += kStages - 1;
    error.assign(y.size(), 0.0);
    for (int i = 0; i < kStages; ++i) add(error, h * kError[i], k[i]);
    const double size = problem.error(u, k[0], error);
    if (size <= 1.0) {
      u = last ? u_end : u + h;
      y.swap(next);
      k[0].swap(k[kStages - 1]);
      ++report.n_steps;
      if (!problem.proceed(u)) break;
    } else {
      ++report.n_rejected;
    }
    h *= std::clamp(kSafety * std::pow(std::max(size, kSmallestSize), -0.2), kShrinkMost, kGrowMost);
  }
  return report;
}

}  // namespace postrec
