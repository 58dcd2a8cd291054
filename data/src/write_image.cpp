#include "postrec/data/write_image.hpp"

#include <ATen/ATen.h>

#include "itk_file.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

void require_nifti_name(const std::filesystem::path& path) {
  if (format_of(path) != FileFormat::kNifti)
    throw Error(ErrorKind::kCannotCreate, quoted_path(path) + " is not a NIfTI name", "end it in .nii.gz or .nii");
}

/// `allowed_dim` axes, real, with C planes that a file can hold.
at::Tensor checked_pixels(const at::Tensor& pixels, std::int64_t n_axes) {
  const bool right = pixels.defined() && pixels.dim() == n_axes && !pixels.is_complex() && pixels.numel() > 0 &&
                     (pixels.size(-3) == 1 || pixels.size(-3) == 3);
  if (!right)
    throw Error(ErrorKind::kInternal, "an image to write is not real with one or three channels",
                "pass [.., C, H, W], C = 1 or 3, magnitude for complex images");
  return pixels.detach().to(at::kCPU, at::kFloat).contiguous();
}

void write_volume(const std::filesystem::path& path, const at::Tensor& pixels, const ImageGeometry& geometry) {
  require_nifti_name(path);
  write_atomically(path, [&](const std::filesystem::path& temporary) { write_itk_file(temporary, FileFormat::kNifti, pixels, geometry); });
}

}  // namespace

void write_nifti(const std::filesystem::path& path, const Image& image) {
  write_volume(path, checked_pixels(image.pixels, 4), image.geometry);
}

void write_nifti_samples(const std::filesystem::path& path, const at::Tensor& samples, const ImageGeometry& geometry) {
  if (samples.defined() && samples.dim() == 5 && samples.size(2) != 1)
    throw Error(ErrorKind::kInternal, "samples to write have " + std::to_string(samples.size(2)) + " channels",
                "one channel is written; write colour samples one by one");
  write_volume(path, checked_pixels(samples, 5), geometry);
}

void write_png(const std::filesystem::path& path, const at::Tensor& slice, double low, double high) {
  if (!(low < high))
    throw Error(ErrorKind::kUsage,
                "the window of " + quoted_path(path) + " is empty: " + std::to_string(low) + " to " + std::to_string(high),
                "low must be below high");
  if (format_of(path) != FileFormat::kPng)
    throw Error(ErrorKind::kCannotCreate, quoted_path(path) + " is not a PNG name", "end it in .png");
  const at::Tensor pixels = checked_pixels(slice, 3);
  if (!at::isfinite(pixels).all().item<bool>())
    throw Error(ErrorKind::kNumerical, "the picture for " + quoted_path(path) + " has values that are not finite", "look at what made it");
  const at::Tensor bytes = ((pixels.to(at::kDouble) - low) * (255.0 / (high - low))).clamp(0.0, 255.0).round().to(at::kByte).unsqueeze(0);
  write_atomically(path,
                   [&](const std::filesystem::path& temporary) { write_itk_file(temporary, FileFormat::kPng, bytes, ImageGeometry{}); });
}

}  // namespace postrec
