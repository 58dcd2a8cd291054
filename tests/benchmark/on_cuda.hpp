#pragma once

#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace postrec {

/// Wall time of call(input) on a CUDA device until the device is done; an error of the benchmark where there is none. `input` is of the host.
template <class Call>
void measure_on_cuda(benchmark::State& state, const at::Tensor& input, const Call& call) {
  if (!at::hasCUDA()) return state.SkipWithError("no CUDA device");
  const at::Tensor there = input.to(at::kCUDA);
  const c10::impl::VirtualGuardImpl cuda(at::kCUDA);
  const c10::Stream stream = cuda.getStream(there.device());
  call(there);                                 // puts the tables on the device
  cuda.synchronizeStream(stream);
  for (auto _ : state) {
    benchmark::DoNotOptimize(call(there).const_data_ptr());
    cuda.synchronizeStream(stream);
  }
  state.SetItemsProcessed(state.iterations() * input.size(0));
}

}  // namespace postrec
