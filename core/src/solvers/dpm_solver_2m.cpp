#include <ATen/ATen.h>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "two_point_line.hpp"

namespace postrec {
namespace {

/// The probability flow in log sigma by a multistep rule of second order: the image as a straight line through the last two denoised ones, so that
/// a level costs one evaluation. Its end is the denoised image of the last level. [Lu 2022, DPM-Solver++(2M), algorithm 2]
class DpmSolver2m : public Solver {
 public:
  using Solver::Solver;

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const at::Tensor denoised = denoise(x_t, level.sigma);
    if (level.next_sigma == 0.0) return denoised;
    const at::Tensor ahead = line_.ahead(denoised, level);
    const double keep = level.next_sigma / level.sigma;
    return linear_combination(keep, x_t, 1.0 - keep, ahead);
  }

  std::map<std::string, at::Tensor> state() const override { return line_.state(); }
  void restore(const std::map<std::string, at::Tensor>& state) override { line_.restore(state); }

 private:
  TwoPointLine line_;
};

}  // namespace

SolverEntry dpm_solver_2m_entry() {
  SolverEntry entry;
  entry.info = {"dpm-solver-2m", "The probability flow by a multistep rule of second order; no noise is added.", "[Lu 2022, algorithm 2]", {}, ""};
  entry.make = [](const SamplingTask& task) { return std::make_unique<DpmSolver2m>(task); };
  return entry;
}

}  // namespace postrec
