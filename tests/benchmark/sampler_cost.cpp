// Where the time of a reconstruction goes: network, operator, and the sampler's own work, which is all the rest.
//
//   postrec_sampler_cost MEASUREMENT PRIOR [LEVELS [SAMPLES [SETTING=NUMBER...]]]
//   POSTREC_DEVICE=cuda postrec_sampler_cost ...
//   POSTREC_DEVICE=privateuseone postrec_sampler_cost ...   how many operators a GPU would be given, and how often the host would wait for it: seconds mean nothing there
//
// MEASUREMENT is a folder that `postrec simulate --slice K` made, PRIOR a file or one that ships. One thread unless OMP_NUM_THREADS says otherwise. Prints seconds and
// shares for the bridge, with the time between two looks at the clock charged to whoever was at work; and what the walk adds to the network alone, that is to as many calls of it on
// as many images. On a device, which works behind the host, only the latter means anything.
#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "case/case.hpp"
#include "cli/run_main.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "pretend_device.hpp"
#include "result/reconstruct_case.hpp"
#include "run/session.hpp"

namespace postrec {
namespace {

/// Adds up the time of its operator's work.
class TimedOperator : public Operator {
 public:
  explicit TimedOperator(std::shared_ptr<const Operator> op) : op_(std::move(op)) {}

  double seconds() const { return seconds_; }
  std::int64_t n_normal() const { return n_normal_; }

  TensorSpec domain() const override { return op_->domain(); }
  TensorSpec codomain() const override { return op_->codomain(); }
  OperatorTraits traits() const override { return op_->traits(); }
  double norm_bound() const override { return op_->norm_bound(); }
  at::Tensor forward(const at::Tensor& x) const override { return timed([&] { return op_->forward(x); }); }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override { return timed([&] { return op_->adjoint(v, x); }); }
  at::Tensor pseudo_inverse(const at::Tensor& y) const override { return timed([&] { return op_->pseudo_inverse(y); }); }
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override { return timed([&] { return op_->normal_solve(lambda, b); }); }
  at::Tensor normal(const at::Tensor& x) const override {
    ++n_normal_;
    return timed([&] { return op_->normal(x); });
  }

 private:
  template <typename Work>
  at::Tensor timed(const Work& work) const {
    const auto begin = std::chrono::steady_clock::now();
    at::Tensor result = work();
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return result;
  }

  std::shared_ptr<const Operator> op_;
  mutable double seconds_ = 0.0;
  mutable std::int64_t n_normal_ = 0;
};

/// Seconds of work until the device is done.
template <typename Work>
double seconds_of(c10::Device device, const Work& work) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  const auto wait = [&] { guard.synchronizeStream(guard.getStream(device)); };
  wait();
  const auto begin = std::chrono::steady_clock::now();
  work();
  wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::int64_t number_at(const std::vector<std::string>& arguments, std::size_t i, std::int64_t otherwise) {
  return arguments.size() > i ? std::stoll(arguments[i]) : otherwise;
}

void print_traffic(const char* of, const pretend::Traffic& traffic, std::size_t n) {
  const auto each = [n](std::int64_t count) { return static_cast<double>(count) / static_cast<double>(n); };
  std::printf("%s: %.1f operators queued, %.1f waits, %.1f copies to the host, %.1f to the device\n", of, each(traffic.queued), each(traffic.waits), each(traffic.to_host), each(traffic.to_device));
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) throw Error(ErrorKind::kUsage, "no measurement or no prior", "postrec_sampler_cost MEASUREMENT PRIOR [LEVELS [SAMPLES [SETTING=NUMBER...]]]");
  if (!std::getenv("OMP_NUM_THREADS")) set_threads(1);
  SessionOptions how;
  how.plugins.folders = PluginSearch::default_folders({});
  how.prior = arguments[1];
  if (const char* device = std::getenv("POSTREC_DEVICE")) how.device = device;
  Session session(how);
  CaseOptions request;
  request.input = arguments[0];
  const Case input = read_case(request, session.registry());
  const Measurement& measurement = input.measurement;
  const auto op = std::make_shared<TimedOperator>(make_operator(session.registry(), measurement, 0));
  const auto prior = session.prior(op->domain(), measurement.unit, measurement.geometry.spacing_mm[0]);
  const at::Tensor y = measurement.y[0].to(session.device());
  const IntensityScale scale = scale_of(measurement, *prior, direct_reconstruction(*op, y));

  SamplerOptions options;
  options.n_steps = static_cast<int>(number_at(arguments, 2, 20));
  options.n_samples = number_at(arguments, 3, 4);
  for (std::size_t i = 4; i < arguments.size(); ++i) options.settings[arguments[i].substr(0, arguments[i].find('='))] = std::stod(arguments[i].substr(arguments[i].find('=') + 1));
  Observer observer;
  const FoundLikelihood found = input.noise.slice(0, op->codomain()).likelihood(op, y, measurement.sigma_y, scale.scale, *prior, options, observer);
  const auto measure = [&](const SamplerOptions& with) {
    const double before = op->seconds();
    const std::int64_t products = op->n_normal();
    const SamplerReport report = sample(*prior, &found.likelihood, op->domain().shape, with, observer).report;
    const double in_operator = op->seconds() - before, own = report.seconds - report.network_seconds - in_operator;
    std::printf("%6.2f s: network %5.1f %%, operator %5.1f %% (%lld products A^H A), sampler %5.1f %%; conditioning over network %.2f\n", report.seconds, 100.0 * report.network_seconds / report.seconds,
                100.0 * in_operator / report.seconds, static_cast<long long>(op->n_normal() - products), 100.0 * own / report.seconds, (in_operator + own) / report.network_seconds);
    return report;
  };
  SamplerOptions once = options;
  if (y.device().is_cpu()) once.n_steps = 2;   // a device also makes plans for the derivatives, which so few levels do not take
  std::printf("%d levels, for what happens once: ", once.n_steps);
  measure(once);
  std::printf("%d levels, %lld samples: ", options.n_steps, static_cast<long long>(options.n_samples));
  SamplerReport report;
  pretend::reset_traffic();
  const double walk = seconds_of(y.device(), [&] { report = measure(options); });
  const TensorSpec image = op->domain();
  const at::Tensor x_t = RandomStreams(0, 0, options.n_samples).normal(0, image.shape, image.dtype, y.device());
  const pretend::Traffic by_walk = pretend::traffic();
  pretend::reset_traffic();
  const double one_each = seconds_of(y.device(), [&] {
    for (const double sigma : report.sigmas) prior->denoise(x_t, sigma);
  });
  const double network = one_each * static_cast<double>(report.nfe) / static_cast<double>(report.sigmas.size());  // a product with the Jacobian counts as an evaluation, too
  std::printf("on %s: walk %.2f s, %lld evaluations of the network alone %.2f s, the rest adds %.1f %%\n", y.device().str().c_str(), walk, static_cast<long long>(report.nfe), network, 100.0 * (walk / network - 1.0));
  if (y.device() == pretend::device()) {
    print_traffic("walk, each level", by_walk, report.sigmas.size());
    print_traffic("one call of the network", pretend::traffic(), report.sigmas.size());
  }
  return 0;
}

}  // namespace
}  // namespace postrec

int main(int argc, char** argv) { return postrec::run_main(argc, argv, postrec::run); }
