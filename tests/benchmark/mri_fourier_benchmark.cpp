#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "mri_fourier/mri_fourier.hpp"
#include "on_cuda.hpp"

// Multi-coil A^H A against its FFTs alone: 8 coils of 256 x 256, so 8 forward and 8 inverse 2-D transforms. The argument is the number of
// threads. Goal: the operator takes at most 1.6 times its FFTs.
namespace postrec {
namespace {

constexpr std::int64_t kCoils = 8, kSize = 256;

std::unique_ptr<Operator> make_operator(const std::string& pattern, std::int64_t rows = kSize, double acceleration = 4.0, std::int64_t coils = kCoils) {
  Parameters p;
  p.set("height", rows);
  p.set("width", kSize);
  p.set("coils", coils);
  p.set("sens-maps", at::randn({coils, rows, kSize}, at::kComplexFloat));
  p.set("mask-pattern", pattern);
  p.set("acceleration", acceleration);
  p.set("n-acs-lines", std::int64_t{24});
  p.set("mask-seed", std::int64_t{0});
  p.set("undersample-axis", std::string("y"));
  return mri_fourier_type().make(p);
}

void transform(const at::Tensor& images, at::IntArrayRef axes) {
  constexpr std::int64_t kOrthonormal = 1;
  benchmark::DoNotOptimize(at::_fft_c2c(at::_fft_c2c(images, axes, kOrthonormal, true), axes, kOrthonormal, false));
}

void mri_ffts_batched(benchmark::State& state) {
  at::set_num_threads(static_cast<int>(state.range(0)));
  const at::Tensor images = at::randn({kCoils, kSize, kSize}, at::kComplexFloat);
  for (auto _ : state) transform(images, {1, 2});
}

void mri_ffts_coil_by_coil(benchmark::State& state) {
  at::set_num_threads(static_cast<int>(state.range(0)));
  const at::Tensor images = at::randn({kCoils, kSize, kSize}, at::kComplexFloat);
  for (auto _ : state) {
    for (std::int64_t c = 0; c < kCoils; ++c) transform(images[c], {0, 1});
  }
}

void mri_operator(benchmark::State& state, const std::string& pattern, at::Tensor (*apply)(const Operator&, const at::Tensor&)) {
  at::set_num_threads(static_cast<int>(state.range(0)));
  const auto op = make_operator(pattern);
  const at::Tensor x = at::randn({1, 1, kSize, kSize}, at::kComplexFloat);
  for (auto _ : state) benchmark::DoNotOptimize(apply(*op, x));
}

void mri_normal(benchmark::State& state, const std::string& pattern) {
  mri_operator(state, pattern, [](const Operator& op, const at::Tensor& x) { return op.normal(x); });
}

/// Heads cut to their brain have such sizes: 201 = 3 x 67.
void mri_normal_201_rows(benchmark::State& state, double acceleration) {
  at::set_num_threads(static_cast<int>(state.range(0)));
  const auto op = make_operator("equispaced", 201, acceleration);
  const at::Tensor x = at::randn({1, 1, 201, kSize}, at::kComplexFloat);
  for (auto _ : state) benchmark::DoNotOptimize(op->normal(x));
}

void mri_adjoint_of_forward(benchmark::State& state, const std::string& pattern) {
  mri_operator(state, pattern, [](const Operator& op, const at::Tensor& x) { return op.adjoint(op.forward(x)); });
}

// 16 coils on a CUDA device; the argument is the batch size. Floor: A^H A takes at most twice its FFTs.
constexpr std::int64_t kCudaCoils = 16;

void mri_ffts_cuda(benchmark::State& state) {
  constexpr std::int64_t kOrthonormal = 1;
  measure_on_cuda(state, at::randn({state.range(0), kCudaCoils, kSize, kSize}, at::kComplexFloat),
                  [](const at::Tensor& images) { return at::_fft_c2c(at::_fft_c2c(images, {2, 3}, kOrthonormal, true), {2, 3}, kOrthonormal, false); });
}

void mri_normal_cuda(benchmark::State& state, const std::string& pattern) {
  const auto op = make_operator(pattern, kSize, 4.0, kCudaCoils);
  measure_on_cuda(state, at::randn({state.range(0), 1, kSize, kSize}, at::kComplexFloat), [&](const at::Tensor& x) { return op->normal(x); });
}

void settings(benchmark::internal::Benchmark* b) { b->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond); }

BENCHMARK(mri_ffts_batched)->Apply(settings);
BENCHMARK(mri_ffts_coil_by_coil)->Apply(settings);
BENCHMARK_CAPTURE(mri_normal, samples, "variable-density-2d")->Apply(settings);
BENCHMARK_CAPTURE(mri_normal, lines, "equispaced")->Apply(settings);
BENCHMARK_CAPTURE(mri_normal_201_rows, a_quarter, 4.0)->Apply(settings);
BENCHMARK_CAPTURE(mri_normal_201_rows, an_eighth, 8.0)->Apply(settings);
BENCHMARK_CAPTURE(mri_adjoint_of_forward, samples, "variable-density-2d")->Apply(settings);
BENCHMARK_CAPTURE(mri_adjoint_of_forward, lines, "equispaced")->Apply(settings);
BENCHMARK(mri_ffts_cuda)->Arg(1)->Arg(8)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(mri_normal_cuda, samples, "variable-density-2d")->Arg(1)->Arg(8)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(mri_normal_cuda, lines, "equispaced")->Arg(1)->Arg(8)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace postrec
