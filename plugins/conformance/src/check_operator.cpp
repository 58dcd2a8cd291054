#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <array>
#include <cmath>
#include <complex>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <thread>

#include "on_device.hpp"
#include "postrec/conformance.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

// float32 rounds to 6e-8. An inner product of random signs averages the roundings of its terms, so 1e-6 (16 roundings) is kept by every
// matched pair we know (4e-10 to 2e-7 measured), while one wrong element among 10^6 exceeds it.
constexpr double kAdjointTolerance = 1e-6;
// Norms of differences see each element's own rounding: a serial float sum of n random terms errs by 6e-8 sqrt(n/2), 4e-6 for 10^4 terms.
// So may two devices differ, which sum in orders of their own; and off the CPU a batch size or memory order, which chooses the kernel (an FFT).
constexpr double kRoundingTolerance = 1e-5;
// A pseudo-inverse amplifies rounding by its condition number; 1e-4 allows 10^3.
constexpr double kPseudoInverseTolerance = 1e-4;
// Another memory order may change the order of a sum, by a few roundings of the result's norm.
constexpr double kStridedTolerance = 1e-6;
// Central differences at h = 1e-2: rounding 6e-8/h = 6e-6, truncation h^2/6 = 2e-5, each times the curvature of the operator.
constexpr double kDifferenceStep = 1e-2;
constexpr double kDerivativeTolerance = 1e-3;
constexpr int kPowerIterations = 50;
constexpr int kBatch = 3;

using Complex = std::complex<double>;

/// Sums in double in index order, so that a report does not depend on threads.
Complex inner_product(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.to(at::kComplexDouble).contiguous(), right = b.to(at::kComplexDouble).contiguous();
  const auto* p = left.const_data_ptr<c10::complex<double>>();
  const auto* q = right.const_data_ptr<c10::complex<double>>();
  Complex sum = 0;
  for (std::int64_t i = 0; i < left.numel(); ++i) sum += std::conj(Complex(p[i])) * Complex(q[i]);
  return sum;
}

double euclidean_norm(const at::Tensor& x) { return std::sqrt(inner_product(x, x).real()); }

/// 0/0 is agreement: both sides are exactly zero.
double ratio(double numerator, double denominator) { return numerator == 0 ? 0.0 : numerator / denominator; }

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor p = a.resolve_conj().resolve_neg().contiguous(), q = b.resolve_conj().resolve_neg().contiguous();
  return p.sizes() == q.sizes() && p.scalar_type() == q.scalar_type() &&
         std::memcmp(p.const_data_ptr(), q.const_data_ptr(), p.nbytes()) == 0;
}

/// ||a - b|| / ||b||; infinite where they cannot be compared.
double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return std::numeric_limits<double>::infinity();
  return ratio(euclidean_norm(a - b), euclidean_norm(b));
}

/// NaN wins.
void keep_worst(double& largest, double value) {
  if (!std::isnan(largest) && !(value <= largest)) largest = value;
}

at::Tensor random_batch(const TensorSpec& spec, std::uint64_t trial, std::uint64_t draw, std::int64_t batch = 1) {
  return RandomStreams(trial, 0, batch).normal(draw, spec.shape, spec.dtype);
}

/// The same numbers with gaps between them: every second element of a tensor twice as wide, transposed in memory where there are two axes.
at::Tensor with_gaps(const at::Tensor& x) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  const std::size_t last = shape.size() - 1;
  if (shape.size() > 2) std::swap(shape[last], shape[last - 1]);
  shape[last] *= 2;
  at::Tensor view = at::zeros(shape, x.options()).slice(-1, 0, shape[last], 2);
  if (shape.size() > 2) view = view.transpose(-1, -2);
  view.copy_(x);
  return view;
}

/// What one function of the operator returned.
struct Returned {
  const char* function;
  at::Tensor tensor;
};

class OneThread {
 public:
  OneThread() : n_threads_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(n_threads_); }

 private:
  int n_threads_;
};

/// On CUDA a stream of its own is the thread's current one; elsewhere nothing happens.
class OwnStream {
 public:
  explicit OwnStream(at::Device device) {
    if (device.is_cuda()) guard_.emplace(c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device));
  }

 private:
  std::optional<c10::StreamGuard> guard_;
};

/// The laws of one operator; each member adds one result.
class LawChecker {
 public:
  LawChecker(const Operator& op, const CheckOptions& options)
      : bare_(op), op_(op, options.device), options_(options), traits_(op.traits()), domain_(op.domain()), codomain_(op.codomain()) {}

  std::vector<LawResult> all() {
    const int n = options_.n_trials;
    const bool on_cpu = options_.device.is_cpu();
    law("adjoint", traits_.linear ? kAdjointTolerance : kDerivativeTolerance, "|<Ax,v> - <x,A^H v>| / (||Ax|| ||v||)", true,
        [&] { return worst(n, [&](int trial) { return adjoint_error(trial); }); });
    law("linear", kRoundingTolerance, "||A(ax+bz) - aAx - bAz|| / (||aAx|| + ||bAz||)", traits_.linear,
        [&] { return worst(n, [&](int trial) { return linear_error(trial); }); });
    law("normal", kRoundingTolerance, "||normal(x) - A^H A x|| / ||A^H A x||", true,
        [&] { return worst(n, [&](int trial) { return normal_error(trial); }); });
    law("normal_solve", kRoundingTolerance, "||b - (A^H A + l I)s|| / ((N^2 + l) ||s|| + ||b||), l/N^2 in {0.01, 1, 100}",
        traits_.has_normal_solve, [&] { return worst(n, [&](int trial) { return normal_solve_error(trial); }); });
    pseudo_inverse();
    law("batch", on_cpu ? 0 : kRoundingTolerance,
        on_cpu ? "a batch of 3 against its singles, differing results" : "||a batch of 3 - its singles|| / ||its singles||", true,
        [&] { return batch_error(); });
    law("strided", on_cpu ? kStridedTolerance : kRoundingTolerance, "||A(strided x) - A(x)|| / ||A(x)||, forward and adjoint", true,
        [&] { return strided_error(); });
    law("determinism", 0, "the same call again and on one thread, differing results", true, [&] { return determinism_error(); });
    law("concurrency", 0, "four threads at once, differing results", true, [&] { return concurrency_error(); });
    law("norm_bound", kRoundingTolerance, "||Ax|| / (N ||x||) - 1 along power iteration", true, [&] { return norm_bound_error(); });
    law("bad_shape", 0, "wrong inputs that were accepted", true, [&] { return bad_shape_error(); });
    law("device", has_reference() ? kRoundingTolerance : 0,
        has_reference() ? "||result - the CPU's|| / ||the CPU's||" : "results on another device than the inputs, or changed inputs", true,
        [&] { return device_error(); });
    if (options_.device.is_cuda())
      law("stream", kRoundingTolerance, "||result on a busy stream - result|| / ||result||", true, [&] { return stream_error(); });
    return std::move(results_);
  }

 private:
  void law(const char* name, double tolerance, const std::string& detail, bool applies, const std::function<double()>& error) {
    LawResult result{name, applies, !applies, 0.0, tolerance, detail};
    if (applies) {
      try {
        result.error = error();
        result.passed = result.error <= tolerance;  // false for NaN
      } catch (const std::exception& e) {
        result.error = std::numeric_limits<double>::infinity();
        result.detail += std::string("; it failed: ") + e.what();
      }
    }
    results_.push_back(result);
  }

  /// The largest error over the trials; NaN wins.
  static double worst(int n_trials, const std::function<double(int)>& error) {
    double largest = 0;
    for (int trial = 0; trial < n_trials && !std::isnan(largest); ++trial) keep_worst(largest, error(trial));
    return largest;
  }

  at::Tensor x(int trial, std::uint64_t draw = 0, std::int64_t batch = 1) const { return random_batch(domain_, trial, draw, batch); }
  at::Tensor v(int trial, std::uint64_t draw = 1, std::int64_t batch = 1) const { return random_batch(codomain_, trial, draw, batch); }
  at::Tensor adjoint(const at::Tensor& measurement, const at::Tensor& point) const { return adjoint(op_, measurement, point); }
  at::Tensor adjoint(const Operator& op, const at::Tensor& measurement, const at::Tensor& point) const {
    return traits_.linear ? op.adjoint(measurement) : op.adjoint(measurement, point);
  }

  /// A d for a linear operator, else J(point) d.
  at::Tensor derivative(const at::Tensor& point, const at::Tensor& d) const {
    if (traits_.linear) return op_.forward(d);
    return (op_.forward(point + kDifferenceStep * d) - op_.forward(point - kDifferenceStep * d)) / (2 * kDifferenceStep);
  }

  double adjoint_error(int trial) const {
    const at::Tensor point = x(trial, 2), d = x(trial), measurement = v(trial);
    const at::Tensor image = derivative(point, d);
    Complex difference = inner_product(image, measurement) - inner_product(d, adjoint(measurement, point));
    // With one real side the law is about real parts.
    if (domain_.dtype == at::kFloat || codomain_.dtype == at::kFloat) difference = difference.real();
    return ratio(std::abs(difference), euclidean_norm(image) * euclidean_norm(measurement));
  }

  double linear_error(int trial) const {
    const at::Tensor first = x(trial), second = x(trial, 1);
    const bool is_complex = domain_.dtype == at::kComplexFloat && codomain_.dtype == at::kComplexFloat;
    const at::Scalar a = is_complex ? at::Scalar(c10::complex<double>(0.7, -1.1)) : at::Scalar(0.7);
    const at::Scalar b = is_complex ? at::Scalar(c10::complex<double>(-1.3, 0.4)) : at::Scalar(-1.3);
    const at::Tensor a_first = op_.forward(first) * a, b_second = op_.forward(second) * b;
    const at::Tensor whole = op_.forward(first * a + second * b);
    return ratio(euclidean_norm(whole - a_first - b_second), euclidean_norm(a_first) + euclidean_norm(b_second));
  }

  double normal_error(int trial) const {
    const at::Tensor point = x(trial);
    const at::Tensor halves = adjoint(op_.forward(point), point);
    return ratio(euclidean_norm(op_.normal(point) - halves), euclidean_norm(halves));
  }

  double normal_solve_error(int trial) const {
    const double bound = op_.norm_bound();
    const double scale = bound > 0 ? bound * bound : 1.0;
    const at::Tensor b = x(trial);
    double largest = 0;
    for (const double lambda : {0.01 * scale, scale, 100 * scale}) {
      const at::Tensor s = op_.normal_solve(lambda, b);
      keep_worst(largest, ratio(euclidean_norm(b - op_.normal(s) - lambda * s), (scale + lambda) * euclidean_norm(s) + euclidean_norm(b)));
    }
    return largest;
  }

  void pseudo_inverse() {
    const bool is_exact = traits_.pseudo_inverse == PseudoInverseKind::kExact;
    law("pseudo_inverse", is_exact ? kPseudoInverseTolerance : 0.0,
        is_exact ? "||A A^+ A x - A x|| / ||A x||" : "results of the wrong shape or not finite",
        traits_.pseudo_inverse != PseudoInverseKind::kNone, [&] {
          const at::Tensor y = op_.forward(x(0));
          const at::Tensor image = op_.pseudo_inverse(y);
          if (!is_exact) return image.sizes() == x(0).sizes() && std::isfinite(euclidean_norm(image)) ? 0.0 : 1.0;
          return ratio(euclidean_norm(op_.forward(image) - y), euclidean_norm(y));
        });
  }

  /// Every function that the operator offers, on numbers of one seed.
  std::vector<Returned> everything(int seed, std::int64_t batch) const { return everything(op_, x(seed, 0, batch), v(seed, 1, batch)); }

  std::vector<Returned> everything(const Operator& op, const at::Tensor& image, const at::Tensor& measurement) const {
    std::vector<Returned> results = {
        {"forward", op.forward(image)}, {"adjoint", adjoint(op, measurement, image)}, {"normal", op.normal(image)}};
    if (traits_.has_normal_solve) results.push_back({"normal_solve", op.normal_solve(0.5, image)});
    if (traits_.pseudo_inverse != PseudoInverseKind::kNone) results.push_back({"pseudo_inverse", op.pseudo_inverse(measurement)});
    return results;
  }

  static int n_different(const std::vector<Returned>& a, const std::vector<Returned>& b) {
    int n = 0;
    for (std::size_t i = 0; i < a.size(); ++i) n += !same_bits(a[i].tensor, b[i].tensor);
    return n;
  }

  double batch_error() const {
    const at::Tensor images = x(0, 0, kBatch), measurements = v(0, 1, kBatch);
    const std::vector<Returned> whole = everything(op_, images, measurements);
    double error = 0;
    for (int b = 0; b < kBatch; ++b) {
      const std::vector<Returned> single = everything(op_, images.narrow(0, b, 1), measurements.narrow(0, b, 1));
      for (std::size_t i = 0; i < whole.size(); ++i) {
        const at::Tensor of_whole = whole[i].tensor.narrow(0, b, 1);
        if (options_.device.is_cpu()) {
          error += !same_bits(of_whole, single[i].tensor);
        } else {
          keep_worst(error, relative_difference(of_whole, single[i].tensor));
        }
      }
    }
    return error;
  }

  double strided_error() const {
    const at::Tensor image = x(0, 0, kBatch), measurement = v(0, 1, kBatch);
    const std::vector<Returned> whole = everything(op_, image, measurement), apart = everything(op_, with_gaps(image), with_gaps(measurement));
    double error = 0.0;
    for (std::size_t i = 0; i < whole.size(); ++i) keep_worst(error, relative_difference(apart[i].tensor, whole[i].tensor));
    return error;
  }

  double determinism_error() const {
    const std::vector<Returned> first = everything(0, kBatch);
    int n = n_different(first, everything(0, kBatch));
    const OneThread one_thread;
    return n + n_different(first, everything(0, kBatch));
  }

  double concurrency_error() const {
    constexpr int kThreads = 4, kRounds = 3;
    std::array<std::vector<Returned>, kThreads> expected;
    for (int t = 0; t < kThreads; ++t) expected[t] = everything(t, 1);
    std::array<int, kThreads> n_wrong{};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        try {
          const OwnStream stream(options_.device);
          for (int round = 0; round < kRounds; ++round) n_wrong[t] += n_different(expected[t], everything(t, 1));
        } catch (const std::exception&) {
          ++n_wrong[t];
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    int n = 0;
    for (const int wrong : n_wrong) n += wrong;
    return n;
  }

  double norm_bound_error() const {
    const double bound = op_.norm_bound();
    if (!(bound >= 0) || std::isinf(bound)) return std::numeric_limits<double>::quiet_NaN();
    at::Tensor image = x(0);
    double largest = 0;
    for (int i = 0; i < kPowerIterations && euclidean_norm(image) > 0; ++i) {
      image = image / euclidean_norm(image);
      largest = std::max(largest, euclidean_norm(traits_.linear ? op_.forward(image) : derivative(x(0), image)));
      image = traits_.linear ? op_.normal(image) : x(i + 1);
    }
    return largest == 0 ? 0.0 : ratio(largest - bound, bound);
  }

  template <class Call>
  static int accepted(Call&& call) {
    try {
      call();
      return 1;
    } catch (const Error&) {
      return 0;
    }
  }

  double bad_shape_error() const {
    int n = 0;
    for (const std::size_t axis : {std::size_t{0}, domain_.shape.size() - 1}) {
      TensorSpec wrong = domain_;
      ++wrong.shape[axis];
      n += accepted([&] { op_.forward(random_batch(wrong, 0, 0)); });
    }
    for (const std::size_t axis : {std::size_t{0}, codomain_.shape.size() - 1}) {
      TensorSpec wrong = codomain_;
      ++wrong.shape[axis];
      n += accepted([&] { adjoint(random_batch(wrong, 0, 0), x(0)); });
    }
    n += accepted([&] { op_.forward(x(0).squeeze(0)); });
    n += accepted([&] { adjoint(v(0).squeeze(0), x(0)); });
    n += accepted([&] { op_.forward(at::Tensor()); });
    return n;
  }

  /// Whether what the device computes is known from the CPU.
  bool has_reference() const { return !options_.device.is_cpu() && options_.works_on_cpu; }

  double device_error() const {
    const at::Tensor image = x(0, 0, kBatch), measurement = v(0, 1, kBatch);
    const std::vector<Returned> results = everything_on(options_.device, image, measurement);
    if (!has_reference()) return 0;
    return worst_difference(results, everything_on(at::kCPU, image, measurement));
  }

  static double worst_difference(const std::vector<Returned>& results, const std::vector<Returned>& expected) {
    double largest = 0;
    for (std::size_t i = 0; i < results.size(); ++i) keep_worst(largest, relative_difference(results[i].tensor.cpu(), expected[i].tensor.cpu()));
    return largest;
  }

  /// Inputs that are zero until a stream with much to do comes to them: an operator that works on another stream finds the zeros.
  double stream_error() const {
    constexpr int kProducts = 40, kSize = 2048;  // 0.7 TFLOP: some ten milliseconds on a fast card
    const at::Tensor image = copied_to(x(0), options_.device), measurement = copied_to(v(0), options_.device);
    const std::vector<Returned> expected = everything(bare_, image, measurement);
    const at::Tensor late_image = at::zeros_like(image), late_measurement = at::zeros_like(measurement);
    at::Tensor busy = at::ones({kSize, kSize}, at::TensorOptions().device(options_.device));
    (void)at::mm(busy, busy).cpu();  // all that came before is done, and the product is loaded
    const OwnStream stream(options_.device);
    for (int i = 0; i < kProducts; ++i) busy = at::mm(busy, busy) / kSize;
    late_image.copy_(image);
    late_measurement.copy_(measurement);
    return worst_difference(everything(bare_, late_image, late_measurement), expected);
  }

  /// Everything, as the operator gives it, on copies of the inputs. Throws Error when a result lies elsewhere or an input is not what it was.
  std::vector<Returned> everything_on(at::Device device, const at::Tensor& image, const at::Tensor& measurement) const {
    const at::Tensor image_there = copied_to(image.clone(), device), measurement_there = copied_to(measurement.clone(), device);
    std::vector<Returned> results = everything(bare_, image_there, measurement_there);
    for (const auto& [function, tensor] : results)
      if (tensor.device() != image_there.device())
        throw Error(ErrorKind::kBadData, std::string(function) + " gave its result on " + tensor.device().str(), "its input lies on " + device.str());
    if (!same_bits(image_there.cpu(), image) || !same_bits(measurement_there.cpu(), measurement))
      throw Error(ErrorKind::kBadData, "an input was changed on " + device.str(), "it must not be written to");
    return results;
  }

  const Operator& bare_;
  const OnDevice op_;                          ///< bare_ for tensors of the host
  CheckOptions options_;
  OperatorTraits traits_;
  TensorSpec domain_;
  TensorSpec codomain_;
  std::vector<LawResult> results_;
};

}  // namespace

std::vector<LawResult> check_operator(const Operator& op, const CheckOptions& options) { return LawChecker(op, options).all(); }

}  // namespace postrec
