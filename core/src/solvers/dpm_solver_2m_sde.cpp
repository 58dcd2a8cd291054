#include <ATen/ATen.h>

#include <cmath>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "reverse_sde.hpp"

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
    const double length = std::log(level.sigma / level.next_sigma);
    const double slope = before_.defined() ? 0.5 * length / length_before_ : 0.0;
    const at::Tensor ahead = before_.defined() ? linear_combination(1.0 + slope, denoised, -slope, before_) : denoised;
    before_ = denoised;
    length_before_ = length;
    const double keep = std::exp(-2.0 * length);
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    return combination(keep, x_t, 1.0 - keep, ahead, level.next_sigma * std::sqrt(1.0 - keep), noise);
  }

  std::map<std::string, at::Tensor> state() const override {
    if (!before_.defined()) return {};
    return {{"denoised", before_}, {"length", at::full({1}, length_before_, at::kDouble)}};
  }
  void restore(const std::map<std::string, at::Tensor>& state) override {
    before_ = state.at("denoised");
    length_before_ = state.at("length").item<double>();
  }

 private:
  at::Tensor before_;                          ///< denoised at the level before
  double length_before_ = 0.0;                 ///< of that step, in log sigma
};

}  // namespace

SolverEntry dpm_solver_2m_sde_entry() {
  SolverEntry entry;
  entry.info = {"dpm-solver-2m-sde", "The reverse stochastic process by a multistep rule of second order in the denoised image.", "[Lu 2022, eq. 19]", {}, ""};
  entry.make = [](const SamplingTask& task) { return std::make_unique<DpmSolver2mSde>(task); };
  return entry;
}

}  // namespace postrec
