#include "mri_fourier/complex_kernels.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace postrec {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements; below it a second thread costs more than it saves

float* data(at::Tensor& t) { return reinterpret_cast<float*>(t.data_ptr()); }
const float* data(const at::Tensor& t) { return reinterpret_cast<const float*>(t.const_data_ptr()); }

/// Calls loop(out, a, b, n) on chunks. The loops work on real and imaginary parts, interleaved, so that they vectorise.
template <class Loop>
void for_chunks(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, Loop loop) {
  float* o = data(out);
  const float* p = data(a);
  const float* q = data(b);
  at::parallel_for(0, out.numel(), kGrain,
                   [=](std::int64_t begin, std::int64_t end) { loop(o + 2 * begin, p + 2 * begin, q + 2 * begin, end - begin); });
}

void add_conj_products(float* o, const float* p, const float* q, std::int64_t n) {
  for (std::int64_t i = 0; i < 2 * n; i += 2) {
    const float re = p[i] * q[i] + p[i + 1] * q[i + 1];
    const float im = p[i] * q[i + 1] - p[i + 1] * q[i];
    o[i] += re;
    o[i + 1] += im;
  }
}

}  // namespace

void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  for_chunks(out, a, b, [](float* o, const float* p, const float* q, std::int64_t n) {
    for (std::int64_t i = 0; i < 2 * n; i += 2) {
      const float re = p[i] * q[i] - p[i + 1] * q[i + 1];
      const float im = p[i] * q[i + 1] + p[i + 1] * q[i];
      o[i] = re;
      o[i + 1] = im;
    }
  });
}

void conj_multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  for_chunks(out, a, b, [](float* o, const float* p, const float* q, std::int64_t n) {
    for (std::int64_t i = 0; i < 2 * n; i += 2) {
      const float re = p[i] * q[i] + p[i + 1] * q[i + 1];
      const float im = p[i] * q[i + 1] - p[i + 1] * q[i];
      o[i] = re;
      o[i + 1] = im;
    }
  });
}

void conj_combine(at::Tensor& out, const at::Tensor& maps, const std::vector<at::Tensor>& images) {
  out.zero_();
  float* o = data(out);
  const float* p = data(maps);
  const std::int64_t size = out.numel();
  at::parallel_for(0, size, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::size_t c = 0; c < images.size(); ++c) {
      add_conj_products(o + 2 * begin, p + 2 * (c * size + begin), data(images[c]) + 2 * begin, end - begin);
    }
  });
}

void scale(at::Tensor& out, const at::Tensor& weights) {
  float* o = data(out);
  const float* w = data(weights);
  at::parallel_for(0, out.numel(), kGrain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      o[2 * i] *= w[i];
      o[2 * i + 1] *= w[i];
    }
  });
}

}  // namespace postrec
