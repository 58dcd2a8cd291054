#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "../runge_kutta.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr int kMostTries = 10000;              // a level
constexpr double kFirstStep = 0.1;             // of log sigma

using Vector = std::vector<double>;

/// The probability flow in u = log sigma, dx/du = x - D, by Runge-Kutta steps of order 5 as long as the tolerance allows. One sample at a time,
/// because a step that asked the other samples would make a sample depend on its batch. [Song 2021, section 4.3 and appendix D.4; Dormand 1980]
/// Differs from [Song 2021]: steps end at the levels too (two levels are one flow), and the size of x in the relative tolerance is 1 + sigma.
class FlowAdaptive : public Solver {
 public:
  explicit FlowAdaptive(const SamplingTask& task) : Solver(task) {
    if (task.n_samples != 1)
      throw Error(ErrorKind::kUsage, "solver 'flow-adaptive' with samples in groups", "choose a method without groups, or a solver whose steps are fixed");
  }

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    if (level.next_sigma == 0.0) return denoise(x_t, level.sigma);
    const double begin = std::log(level.sigma), end = std::log(level.next_sigma);
    // exp(log sigma) may round to beyond the range of the prior.
    const auto sigma = [&](double u) { return std::clamp(std::exp(u), level.next_sigma, level.sigma); };
    double reached = begin, longest = 0.0;
    OdeProblem problem;
    problem.derivative = [&](double u, const Vector& y, Vector& dy) {
      const Vector denoised = values(denoise(image(y, x_t), sigma(u)));
      for (std::size_t i = 0; i < y.size(); ++i) dy[i] = y[i] - denoised[i];
    };
    problem.error = [&](double u, const Vector&, const Vector& error) { return root_mean_square(error) / (task_.setting("tolerance") * (1.0 + sigma(u))); };
    problem.proceed = [&](double u) {
      longest = std::max(longest, reached - u);
      reached = u;
      return true;
    };
    Vector y = values(x_t);
    const OdeReport report = integrate(problem, begin, end, y, length_, kMostTries);
    if (report.u != end)
      throw Error(ErrorKind::kNumerical, "solver 'flow-adaptive' has come from sigma " + std::to_string(level.sigma) + " to " +
                  std::to_string(sigma(report.u)) + " of " + std::to_string(level.next_sigma) + " in " + std::to_string(kMostTries) + " steps",
                  "use a larger tolerance");
    length_ = longest;
    return image(y, x_t);
  }

  std::map<std::string, at::Tensor> state() const override { return {{"length", at::full({1}, length_, at::kDouble)}}; }
  void restore(const std::map<std::string, at::Tensor>& state) override { length_ = state.at("length").item<double>(); }

 private:
  static Vector values(const at::Tensor& x) {
    const at::Tensor reals = real_view(x).to(at::kCPU, at::kDouble).contiguous();
    return {reals.const_data_ptr<double>(), reals.const_data_ptr<double>() + reals.numel()};
  }

  static at::Tensor image(const Vector& y, const at::Tensor& like) {
    const at::Tensor reals = at::tensor(y, at::kDouble).to(like.device(), at::kFloat).view(real_view(like).sizes());
    return like.is_complex() ? at::view_as_complex(reals) : reals;
  }

  static double root_mean_square(const Vector& values) {
    double sum = 0.0;
    for (const double value : values) sum += value * value;
    return std::sqrt(sum / static_cast<double>(values.size()));
  }

  double length_ = kFirstStep;                 ///< the longest step of the level before: the first to try
};

}  // namespace

SolverEntry flow_adaptive_entry() {
  SolverEntry entry;
  entry.info = {"flow-adaptive", "The probability flow by Runge-Kutta steps as long as a tolerance allows, each sample on its own.",
                "[Song 2021, appendix D.4; Dormand 1980]",
                {{"tolerance", 1e-5, 1e-7, 1.0, "error of a step that is tolerated, times 1 + sigma, in units of the image (root mean square)"}}, ""};
  entry.adaptive = true;
  entry.make = [](const SamplingTask& task) { return std::make_unique<FlowAdaptive>(task); };
  return entry;
}

}  // namespace postrec
