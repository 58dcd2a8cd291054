#include <ATen/ATen.h>

#include "../entries.hpp"
#include "heun_rule.hpp"

namespace postrec {
namespace {

/// The probability flow by Heun's rule of second order. [Karras 2022, algorithm 1]
class FlowHeun : public Solver {
 public:
  using Solver::Solver;
  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    return heun_step(x_t, level.sigma, level.next_sigma, denoise);
  }
};

}  // namespace

SolverEntry flow_heun_entry() {
  SolverEntry entry;
  entry.info = {"flow-heun", "The probability flow by Heun's rule of second order; no noise is added.", "[Karras 2022, algorithm 1]", {}, ""};
  entry.evaluations = {2.0};
  entry.make = [](const SamplingTask& task) { return std::make_unique<FlowHeun>(task); };
  return entry;
}

}  // namespace postrec
