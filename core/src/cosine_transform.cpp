#include "cosine_transform.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace postrec {
namespace {

// By matrices.

// Sizes that matrix products compute in whole tiles. At a ragged edge they round by where in the batch an image lies (seen below 14 rows).
constexpr std::int64_t kTile = 16;

// Row k, column i: sqrt(2/n) cos(pi (2 i + 1) k / 2 n), the first row divided by sqrt(2). Zeros up to whole tiles.
at::Tensor make_matrix(std::int64_t n) {
  const std::int64_t size = (n + kTile - 1) / kTile * kTile;
  at::Tensor matrix = at::zeros({size, size}, at::kDouble);
  double* data = matrix.data_ptr<double>();
  for (std::int64_t k = 0; k < n; ++k)
    for (std::int64_t i = 0; i < n; ++i) {
      // The angle is reduced in integers, where it is exact.
      const std::int64_t phase = (2 * i + 1) * k % (4 * n);
      data[k * size + i] = std::sqrt((k == 0 ? 1.0 : 2.0) / n) * std::cos(std::numbers::pi * phase / (2.0 * n));
    }
  return matrix.to(at::kFloat);
}

at::Tensor matrix_of(std::int64_t n, const at::Device& device) {
  static std::mutex mutex;
  static std::map<std::pair<std::int64_t, std::string>, at::Tensor> cache;
  const std::lock_guard lock(mutex);
  at::Tensor& matrix = cache[{n, device.str()}];
  const c10::InferenceMode with_graphs(false);  // whoever asks first, others may differentiate through it
  if (!matrix.defined()) matrix = make_matrix(n).to(device);
  return matrix;
}

// left x right, the images padded with zeros to the size of the matrices.
at::Tensor between(const at::Tensor& left, const at::Tensor& x, const at::Tensor& right) {
  const std::int64_t height = x.size(-2), width = x.size(-1), rows = left.size(0) - height, columns = right.size(0) - width;
  if (rows == 0 && columns == 0) return at::matmul(at::matmul(left, x), right);
  const at::Tensor padded = at::constant_pad_nd(x, {0, columns, 0, rows});
  return at::matmul(at::matmul(left, padded), right).narrow(-2, 0, height).narrow(-1, 0, width).contiguous();
}

// By FFT. Along an axis, with v = x[0], x[2], x[4], ..., x[5], x[3], x[1], V its DFT and w = exp(-i pi/2n), coefficient k is Re(w^k V[k]) and coefficient n - k is
// -Im(w^k V[k]), before the scale that makes them orthonormal. Image by image: MKL was seen to round a batch otherwise than one image (16x16, 32x32; nothing says where else).

// Where entry i of v comes from.
std::int64_t source_of(std::int64_t i, std::int64_t n) { return 2 * i < n ? 2 * i : 2 * (n - i) - 1; }

/// What the coefficients along an axis of n pixels take.
struct Axis {
  explicit Axis(std::int64_t length) : n(length), cosine(n), sine(n), forward(n), backward(n + 1) {
    for (std::int64_t k = 0; k < n; ++k) {
      const double angle = std::numbers::pi * static_cast<double>(k) / (2.0 * static_cast<double>(n)), norm = std::sqrt((k == 0 ? 1.0 : 2.0) / static_cast<double>(n));
      cosine[k] = static_cast<float>(std::cos(angle));
      sine[k] = static_cast<float>(std::sin(angle));
      forward[k] = static_cast<float>(norm);
      backward[k] = static_cast<float>(1.0 / (norm * static_cast<double>(n)));
    }
  }
  /// Where the DFT of real numbers has the conjugate of entry k.
  std::int64_t mirror(std::int64_t k) const { return k == 0 ? 0 : n - k; }

  std::int64_t n;
  std::vector<float> cosine, sine;             ///< w^k = cosine - i sine
  std::vector<float> forward;                  ///< makes coefficient k of a sum orthonormal
  std::vector<float> backward;                 ///< undoes that, and the n of a DFT there and back; coefficient n is 0
};

const Axis& axis_of(std::int64_t n) {
  static std::mutex mutex;
  static std::map<std::int64_t, std::unique_ptr<const Axis>> cache;
  const std::lock_guard lock(mutex);
  std::unique_ptr<const Axis>& made = cache[n];
  if (!made) made = std::make_unique<const Axis>(n);
  return *made;
}

/// Of one image.
struct Transform {
  const Axis &down, &along;
  std::int64_t rows = down.n, columns = along.n, half = columns / 2 + 1;  // the DFT of real numbers is needed for `half` columns

  template <typename Body>
  void for_rows(const Body& body) const {
    at::parallel_for(0, rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) body(row);
    });
  }

  /// v of x along both axes.
  void fold(const float* x, float* v) const {
    const std::int64_t up = (columns + 1) / 2;
    for_rows([&](std::int64_t i) {
      const float* from = x + source_of(i, rows) * columns;
      float* to = v + i * columns;
      for (std::int64_t j = 0; j < up; ++j) to[j] = from[2 * j];
      for (std::int64_t j = up; j < columns; ++j) to[j] = from[2 * (columns - j) - 1];
    });
  }

  /// Down the columns the DFT is of complex numbers: their coefficient k is (w^k V[k] + w^-k V[n - k])/2.
  void coefficients(const float* dft, float* k) const {
    for_rows([&](std::int64_t m) {
      const float *a = dft + 2 * half * m, *b = dft + 2 * half * down.mirror(m);
      const float c = 0.5f * down.forward[m] * down.cosine[m], s = 0.5f * down.forward[m] * down.sine[m];
      float* row = k + m * columns;
      for (std::int64_t l = 0; l < half; ++l) {
        const float re = c * (a[2 * l] + b[2 * l]) + s * (a[2 * l + 1] - b[2 * l + 1]), im = c * (a[2 * l + 1] + b[2 * l + 1]) - s * (a[2 * l] - b[2 * l]);
        const float cosine = along.forward[l] * along.cosine[l], sine = along.forward[l] * along.sine[l];
        row[along.mirror(l)] = sine * re - cosine * im;
        row[l] = cosine * re + sine * im;      // last, for where both are the same
      }
    });
  }

  /// Re V - Im V over all columns: w^k V[k] is coefficient k less i times coefficient n - k along either axis.
  void hartley(const float* k, float* h) const {
    for_rows([&](std::int64_t m) {
      const std::int64_t mirrored = down.mirror(m);
      const float *a = k + m * columns, *b = k + mirrored * columns, scale_a = down.backward[m], scale_b = down.backward[rows - m];
      float *row = h + m * columns, *mirrored_row = h + mirrored * columns;
      for (std::int64_t l = 0; l < half; ++l) {
        const std::int64_t mirror = along.mirror(l);
        const float near = along.backward[l], far = along.backward[columns - l];
        const float re = scale_a * near * a[l] - scale_b * far * b[mirror], im = -scale_a * far * a[mirror] - scale_b * near * b[l];
        const float cosine = down.cosine[m] * along.cosine[l] - down.sine[m] * along.sine[l], sine = down.sine[m] * along.cosine[l] + down.cosine[m] * along.sine[l];
        const float v_re = cosine * re - sine * im, v_im = cosine * im + sine * re;
        row[l] = v_re - v_im;
        if (mirror > l) mirrored_row[mirror] = v_re + v_im;
      }
    });
  }

  /// x of the DFT of that, which is its own inverse but for n. [Bracewell 1983]
  void unfold(const float* dft, float* x) const {
    const std::int64_t up = (columns + 1) / 2;
    for_rows([&](std::int64_t i) {
      const float *near = dft + 2 * half * i, *far = dft + 2 * half * down.mirror(i);
      float* to = x + source_of(i, rows) * columns;
      for (std::int64_t j = 0; j < up; ++j) to[2 * j] = near[2 * j] - near[2 * j + 1];
      for (std::int64_t j = up; j < columns; ++j) to[2 * (columns - j) - 1] = far[2 * (columns - j)] + far[2 * (columns - j) + 1];
    });
  }
};

// after(DFT of before(image)) of each image.
using Step = void (Transform::*)(const float*, float*) const;
at::Tensor by_fft(const at::Tensor& x, Step before, Step after) {
  const Transform transform{axis_of(x.size(-2)), axis_of(x.size(-1))};
  const std::int64_t n = transform.rows * transform.columns;
  at::Tensor result = at::empty_like(x), real = at::empty({transform.rows, transform.columns}, x.options());
  const float* in = x.const_data_ptr<float>();
  float* out = result.data_ptr<float>();
  for (std::int64_t image = 0; image * n < x.numel(); ++image) {
    (transform.*before)(in + image * n, real.data_ptr<float>());
    const at::Tensor dft = at::view_as_real(at::fft_rfft2(real)).contiguous();
    (transform.*after)(dft.const_data_ptr<float>(), out + image * n);
  }
  return result;
}

// Rows and columns together below which matrices are faster, measured on square images of one core.
constexpr std::int64_t kFewForFft = 192;

bool goes_by_matrices(const at::Tensor& x) {
  const bool needs_graph = x.requires_grad() && at::GradMode::is_enabled();
  return needs_graph || !x.is_cpu() || x.scalar_type() != at::kFloat || x.size(-2) + x.size(-1) < kFewForFft;
}

}  // namespace

at::Tensor cosine_transform(const at::Tensor& x) {
  if (goes_by_matrices(x)) return between(matrix_of(x.size(-2), x.device()), x, matrix_of(x.size(-1), x.device()).t());
  return by_fft(x.contiguous(), &Transform::fold, &Transform::coefficients);
}

at::Tensor inverse_cosine_transform(const at::Tensor& k) {
  if (goes_by_matrices(k)) return between(matrix_of(k.size(-2), k.device()).t(), k, matrix_of(k.size(-1), k.device()));
  return by_fft(k.contiguous(), &Transform::hartley, &Transform::unfold);
}

}  // namespace postrec
