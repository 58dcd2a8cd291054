#include <ATen/ATen.h>

#include <cmath>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "reverse_sde.hpp"
#include "two_point_line.hpp"

namespace postrec {
namespace {

/// The reverse stochastic process, its linear part exactly, the image as a straight line in log sigma through the last two denoised ones.
/// One evaluation a level; its end is the denoised image of the last level. [Lu 2022, SDE-DPM-Solver++(2M), eq. 19]
class DpmSolver2mSde : public Solver {
 public:
  using Solver::Solver;

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const at::Tensor denoised = denoise(x_t, level.sigma);
    if (level.next_sigma == 0.0) return denoised;
    const at::Tensor ahead = line_.ahead(denoised, level);
    const double keep = std::exp(-2.0 * std::log(level.sigma / level.next_sigma));
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    return combination(keep, x_t, 1.0 - keep, ahead, level.next_sigma * std::sqrt(1.0 - keep), noise);
  }

  std::map<std::string, at::Tensor> state() const override { return line_.state(); }
  void restore(const std::map<std::string, at::Tensor>& state) override { line_.restore(state); }

 private:
  TwoPointLine line_;
};

}  // namespace

SolverEntry dpm_solver_2m_sde_entry() {
  SolverEntry entry;
  entry.info = {"dpm-solver-2m-sde", "The reverse stochastic process by a multistep rule of second order in the denoised image.", "[Lu 2022, eq. 19]", {}, ""};
  entry.make = [](const SamplingTask& task) { return std::make_unique<DpmSolver2mSde>(task); };
  return entry;
}

}  // namespace postrec
