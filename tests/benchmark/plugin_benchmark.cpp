// What the plugin boundary costs: each function of a builtin operator called directly, and the same through its plugin.
// Goal: less than 20 % of any call above 1 ms. Pairs of rows, direct/... and plugin/..., are to be compared within one run.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "ct_radon/ct_radon.hpp"
#include "grayscale/grayscale.hpp"
#include "masking/masking.hpp"
#include "mri_fourier/mri_fourier.hpp"
#include "postrec/host/plugin_registry.hpp"

namespace postrec {
namespace {

PluginRegistry& registry() {
  static PluginRegistry registry([] {
    PluginSearch search;
    search.folders = PluginSearch::default_folders({});
    return search;
  }());
  return registry;
}

Parameters image_of(std::int64_t height, std::int64_t width) {
  Parameters p;
  p.set("height", height);
  p.set("width", width);
  return p;
}

at::Tensor batch_of(const TensorSpec& spec, std::int64_t batch) {
  std::vector<std::int64_t> shape = {batch};
  shape.insert(shape.end(), spec.shape.begin(), spec.shape.end());
  return at::ones(shape, spec.dtype);
}

using Call = std::function<at::Tensor(const Operator&, const at::Tensor& image, const at::Tensor& measurement)>;

void run(benchmark::State& state, const std::shared_ptr<const Operator>& op, const Call& call, std::int64_t batch) {
  const at::Tensor image = batch_of(op->domain(), batch), measurement = batch_of(op->codomain(), batch);
  for (auto _ : state) benchmark::DoNotOptimize(call(*op, image, measurement));
}

/// Three functions, each direct and through the plugin. Nothing is made before its row runs.
void add(const std::string& name, const OperatorType& (*type)(), Parameters (*parameters)(), std::int64_t batch) {
  const std::pair<const char*, Call> calls[] = {
      {"forward", [](const Operator& op, const at::Tensor& x, const at::Tensor&) { return op.forward(x); }},
      {"adjoint", [](const Operator& op, const at::Tensor&, const at::Tensor& v) { return op.adjoint(v); }},
      {"normal", [](const Operator& op, const at::Tensor& x, const at::Tensor&) { return op.normal(x); }}};
  for (const auto& [function, call] : calls) {
    const auto direct = [=, body = call](benchmark::State& state) {
      run(state, type().make(check_parameters(type(), parameters())), body, batch);
    };
    const auto plugin = [=, body = call](benchmark::State& state) { run(state, registry().make(type().name, parameters()), body, batch); };
    const std::string title = "plugin/" + name + "/" + function;
    benchmark::RegisterBenchmark((title + "/direct").c_str(), direct)->Unit(benchmark::kMillisecond)->UseRealTime();
    benchmark::RegisterBenchmark((title + "/plugin").c_str(), plugin)->Unit(benchmark::kMillisecond)->UseRealTime();
  }
}

Parameters mri_8_coils() {
  Parameters p = image_of(256, 256);
  p.set("mask-pattern", std::string("equispaced"));
  p.set("sens-maps", at::ones({8, 256, 256}, at::kComplexFloat));
  return p;
}

Parameters ct() {
  Parameters p = image_of(256, 256);
  p.set("pixel-mm", 1.0);
  return p;
}

Parameters masked(std::int64_t size) {
  Parameters p = image_of(size, size);
  p.set("pattern", std::string("random"));
  return p;
}

const bool registered = [] {
  add("mri_8_coils_256", mri_fourier_type, mri_8_coils, 1);
  add("mri_8_coils_256_batch_8", mri_fourier_type, mri_8_coils, 8);
  add("ct_256", ct_radon_type, ct, 1);
  add(
      "masking_512_batch_8", masking_type, [] { return masked(512); }, 8);
  add(
      "grayscale_512_batch_8", grayscale_type, [] { return image_of(512, 512); }, 8);
  add(
      "masking_8", masking_type, [] { return masked(8); }, 1);
  return true;
}();

}  // namespace
}  // namespace postrec
