// [Uecker 2014] Uecker, Lai, Murphy, Virtue, Elad, Pauly, Vasanawala, Lustig, ESPIRiT, Magn. Reson. Med. 71 (2014).
#include "mri_fourier/espirit.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "postrec/error.hpp"

namespace postrec {
namespace {

/// One thread for as long as it lives: a matrix product of MKL may round differently with another number of them.
class OneThread {
 public:
  OneThread() : n_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(n_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int n_;
};

CalibrationRegion centred(std::int64_t height, std::int64_t width, std::int64_t rows, std::int64_t columns) {
  return {height / 2 - rows / 2, width / 2 - columns / 2, rows, columns};
}

bool fits(const at::Tensor& mask, const CalibrationRegion& r) {
  if (r.first_row < 0 || r.first_column < 0 || r.first_row + r.height > mask.size(0) || r.first_column + r.width > mask.size(1)) return false;
  return mask.narrow(0, r.first_row, r.height).narrow(1, r.first_column, r.width).all().item<bool>();
}

/// Every patch of the region as a column: [coil * kernel * kernel, patches].
at::Tensor patches(const at::Tensor& calibration, std::int64_t kernel) {
  const at::Tensor all = calibration.unfold(1, kernel, 1).unfold(2, kernel, 1);
  return all.permute({0, 3, 4, 1, 2}).reshape({calibration.size(0) * kernel * kernel, -1});
}

/// The projector onto the space that the patches span: [coil, kernel, kernel, coil, kernel, kernel].
at::Tensor patch_projector(const at::Tensor& calibration, const EspiritOptions& options) {
  const at::Tensor columns = patches(calibration, options.kernel);
  const auto [values, vectors] = at::linalg_eigh(columns.matmul(columns.conj().t()));
  const double largest = values.max().item<double>();
  if (!(largest > 0))
    throw Error(ErrorKind::kBadData, "the calibration region of the k-space holds no signal", "give the coil sensitivities with --set sens-maps=FILE");
  const at::Tensor kept = vectors.index_select(1, at::nonzero(values.gt(options.threshold * largest)).squeeze(1));
  const std::int64_t n_coils = calibration.size(0), k = options.kernel;
  return kept.matmul(kept.conj().t()).view({n_coils, k, k, n_coils, k, k});
}

/// The projector in pixel r is sum_e R(e) exp(2 pi i e r / n), e = 1 - kernel ... kernel - 1 in both axes: R / kernel^2 as [e_y, e_x, coil * coil].
at::Tensor projector_coefficients(const at::Tensor& projector) {
  const std::int64_t n_coils = projector.size(0), k = projector.size(1);
  std::vector<at::Tensor> all;
  for (std::int64_t ey = 1 - k; ey < k; ++ey)
    for (std::int64_t ex = 1 - k; ex < k; ++ex) all.push_back(projector.diagonal(-ey, 1, 4).diagonal(-ex, 1, 3).sum(at::IntArrayRef({2, 3})));
  return at::stack(all).view({2 * k - 1, 2 * k - 1, n_coils * n_coils}) / static_cast<double>(k * k);
}

/// exp(2 pi i e (p - n/2) / n): [pixel, e].
at::Tensor waves(std::int64_t n, std::int64_t kernel) {
  const at::Tensor pixel = at::arange(n, at::kDouble) - static_cast<double>(n / 2), e = at::arange(1 - kernel, kernel, at::kDouble);
  const at::Tensor angle = pixel.unsqueeze(1) * e.unsqueeze(0) * (2 * M_PI / static_cast<double>(n));
  return at::polar(at::ones_like(angle), angle).to(at::kComplexFloat);
}

/// The combination of coils with most energy, [coil], its largest entry positive.
at::Tensor first_virtual_coil(const at::Tensor& calibration) {
  const at::Tensor samples = calibration.flatten(1);
  const at::Tensor vectors = std::get<1>(at::linalg_eigh(samples.matmul(samples.conj().t())));
  const at::Tensor strongest = vectors.select(1, -1);
  const at::Tensor largest = strongest[strongest.abs().argmax()];
  return strongest * (largest.conj() / largest.abs());
}

/// Maps of some pixels from their projectors [pixel, coil, coil]: [pixel, coil].
at::Tensor maps_of_pixels(const at::Tensor& projectors, const at::Tensor& virtual_coil, double crop) {
  const auto [values, vectors] = at::linalg_eigh(projectors);
  const at::Tensor map = vectors.select(2, -1);
  const at::Tensor seen = map.matmul(virtual_coil.conj().unsqueeze(1));
  const at::Tensor turn = at::where(seen.abs().gt(0), seen.conj() / seen.abs(), 1);
  return map * turn * values.select(1, -1).ge(crop).unsqueeze(1);
}

}  // namespace

CalibrationRegion find_calibration_region(const at::Tensor& mask, std::int64_t largest) {
  const std::int64_t height = mask.size(0), width = mask.size(1);
  std::int64_t rows = 0, columns = 0;
  bool row_grows = true, column_grows = true;
  while (row_grows || column_grows) {
    row_grows = row_grows && rows < largest && fits(mask, centred(height, width, rows + 1, std::max<std::int64_t>(columns, 1)));
    rows += row_grows;
    column_grows = column_grows && columns < largest && fits(mask, centred(height, width, std::max<std::int64_t>(rows, 1), columns + 1));
    columns += column_grows;
  }
  return rows == 0 || columns == 0 ? CalibrationRegion{} : centred(height, width, rows, columns);
}

at::Tensor espirit_maps(const at::Tensor& kspace, const CalibrationRegion& region, const EspiritOptions& options) {
  const std::int64_t smallest = 2 * options.kernel;
  if (region.height < smallest || region.width < smallest)
    throw Error(ErrorKind::kBadData, "the fully sampled centre of the k-space is " + std::to_string(region.height) + "x" + std::to_string(region.width),
                "coil sensitivities need " + std::to_string(smallest) + "x" + std::to_string(smallest) +
                    " samples around the centre; give them with --set sens-maps=FILE");
  const std::int64_t n_coils = kspace.size(0), height = kspace.size(1), width = kspace.size(2);
  const at::Tensor calibration = kspace.narrow(1, region.first_row, region.height).narrow(2, region.first_column, region.width);

  at::Tensor virtual_coil, rows, along_x;  // along_x: [e_y, column * coil * coil]
  {
    const OneThread guard;
    virtual_coil = first_virtual_coil(calibration);
    along_x = at::matmul(waves(width, options.kernel), projector_coefficients(patch_projector(calibration, options))).flatten(1);
    rows = waves(height, options.kernel);
  }
  at::Tensor maps = at::empty({n_coils, height, width}, at::kComplexFloat);
  at::parallel_for(0, height, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y) {
      const at::Tensor projectors = rows[y].unsqueeze(0).matmul(along_x).view({width, n_coils, n_coils});
      maps.select(1, y).copy_(maps_of_pixels(projectors, virtual_coil, options.crop).t());
    }
  });
  return maps;
}

}  // namespace postrec
