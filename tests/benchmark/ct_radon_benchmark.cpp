#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <random>

#include "ct_radon/ct_radon.hpp"
#include "on_cuda.hpp"

// 512 x 512 pixels, 180 views, 729 detectors of one pixel, one thread: the setting of astra_projector.py. The argument is the batch size;
// "ms_per_image" is process CPU time, which other programs on the machine disturb less than wall time.
namespace {

using namespace postrec;

constexpr std::int64_t kSide = 512, kViews = 180, kDetectors = 729;

const Operator& scanner(const std::string& beam) {
  static std::map<std::string, std::unique_ptr<Operator>> made;
  std::unique_ptr<Operator>& op = made[beam];
  if (!op) {
    Parameters parameters;
    for (const auto& [key, value] : {std::pair{"height", kSide}, {"width", kSide}, {"n-views", kViews}, {"n-detectors", kDetectors}}) parameters.set(key, value);
    parameters.set("pixel-mm", 1.0);
    parameters.set("beam", beam);
    if (beam != "parallel") {
      parameters.set("source-to-isocenter-mm", 1000.0);
      parameters.set("source-to-detector-mm", 2000.0);
    }
    op = ct_radon_type().make(parameters);
  }
  return *op;
}

at::Tensor random(const TensorSpec& spec, std::int64_t batch) {
  std::vector<std::int64_t> shape = spec.shape;
  shape.insert(shape.begin(), batch);
  at::Tensor values = at::empty(shape, at::kFloat);
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (std::int64_t i = 0; i < values.numel(); ++i) values.mutable_data_ptr<float>()[i] = uniform(generator);
  return values;
}

template <class Call>
void measure(benchmark::State& state, const TensorSpec& spec, Call call) {
  at::set_num_threads(1);
  const at::Tensor input = random(spec, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(call(input).const_data_ptr());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void ct_forward(benchmark::State& state, const char* beam) {
  measure(state, scanner(beam).domain(), [&](const at::Tensor& x) { return scanner(beam).forward(x); });
}

void ct_adjoint(benchmark::State& state, const char* beam) {
  measure(state, scanner(beam).codomain(), [&](const at::Tensor& v) { return scanner(beam).adjoint(v); });
}

void ct_fbp(benchmark::State& state, const char* beam) {
  measure(state, scanner(beam).codomain(), [&](const at::Tensor& y) { return scanner(beam).pseudo_inverse(y); });
}

// Floor: under 0.5 ms a single image.
void ct_forward_cuda(benchmark::State& state, const char* beam) {
  measure_on_cuda(state, random(scanner(beam).domain(), state.range(0)), [&](const at::Tensor& x) { return scanner(beam).forward(x); });
}

void ct_adjoint_cuda(benchmark::State& state, const char* beam) {
  measure_on_cuda(state, random(scanner(beam).codomain(), state.range(0)), [&](const at::Tensor& v) { return scanner(beam).adjoint(v); });
}

void ct_construction(benchmark::State& state) {
  at::set_num_threads(1);
  Parameters parameters;
  for (const auto& [key, value] : {std::pair{"height", std::int64_t{256}}, {"width", std::int64_t{256}}, {"n-views", std::int64_t{60}}}) parameters.set(key, value);
  parameters.set("pixel-mm", 1.0);
  for (auto _ : state) benchmark::DoNotOptimize(ct_radon_type().make(parameters)->norm_bound());
}

#define CT_BENCHMARK(name, beam) BENCHMARK_CAPTURE(name, beam, #beam)->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()
CT_BENCHMARK(ct_forward, parallel);
CT_BENCHMARK(ct_adjoint, parallel);
BENCHMARK_CAPTURE(ct_forward, fan_flat, "fan-flat")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
BENCHMARK_CAPTURE(ct_adjoint, fan_flat, "fan-flat")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
CT_BENCHMARK(ct_fbp, parallel);
BENCHMARK_CAPTURE(ct_forward_cuda, parallel, "parallel")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(ct_adjoint_cuda, parallel, "parallel")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(ct_forward_cuda, fan_flat, "fan-flat")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(ct_adjoint_cuda, fan_flat, "fan-flat")->Arg(1)->Arg(8)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(ct_construction)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();

}  // namespace
