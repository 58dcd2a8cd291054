#include "mri_fourier/mri_fourier.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <optional>

#include "common/check_batch.hpp"
#include "common/per_device.hpp"
#include "mri_fourier/centred_dft.hpp"
#include "mri_fourier/complex_kernels.hpp"
#include "mri_fourier/device_fourier.hpp"
#include "mri_fourier/masks.hpp"
#include "mri_fourier/spectral_filter.hpp"

namespace postrec {
namespace {

/// Calls task(i) for i = 0 ... n - 1 on the threads there are; a single task keeps them for its own loops and transforms.
/// Always in inference mode, which is the state of a thread: nothing here is for autograd, and the caller's tensors may be of either mode.
template <class Task>
void in_parallel(std::int64_t n, Task task) {
  at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
    const c10::InferenceMode mode;
    for (std::int64_t i = begin; i < end; ++i) task(i);
  });
}

/// Samples side by side where they keep every thread busy, else one after the other with the threads inside: the same bits either way.
template <class Task>
void for_each_sample(std::int64_t n, Task task) {
  if (n >= at::get_num_threads()) {
    in_parallel(n, task);
    return;
  }
  const c10::InferenceMode mode;
  for (std::int64_t b = 0; b < n; ++b) task(b);
}

/// On the CPU works sample by sample and coil by coil: the working set stays in the cache, and no sample sees its neighbours in the batch. Elsewhere see DeviceFourier.
class MriFourier final : public Operator {
 public:
  /// maps: complex64 [coil, H, W], or undefined for one coil of sensitivity 1; mask: boolean [H, W].
  MriFourier(const at::Tensor& maps, const at::Tensor& mask)
      : height_(mask.size(0)),
        width_(mask.size(1)),
        maps_(maps),
        image_ramp_(image_ramp(height_, width_)),
        kspace_weights_(at::where(mask, kspace_ramp(height_, width_), 0)),
        filter_(mask, maps.defined() && maps.size(0) > 1),
        on_device_(maps, mask),
        full_mask_(mask.all().item<bool>()) {
    if (!has_maps()) return;
    working_maps_ = filter_.to_working(maps_);
    const at::Tensor energy = at::view_as_real(maps_).to(at::kDouble).square().sum(at::IntArrayRef({0, 3}));
    norm_bound_ = std::sqrt(energy.max().item<double>());
    const at::Tensor inverse = at::where(energy > 0, energy.reciprocal(), 0.0).to(at::kComplexFloat);
    inverse_energy_.emplace([inverse](at::Device device) { return inverse.to(device); });
  }

  TensorSpec domain() const override { return {{1, height_, width_}, at::kComplexFloat}; }
  TensorSpec codomain() const override { return {{n_coils(), height_, width_}, at::kComplexFloat}; }

  OperatorTraits traits() const override {
    OperatorTraits traits;
    traits.has_normal_solve = !has_maps();
    traits.pseudo_inverse = full_mask_ && !has_maps() ? PseudoInverseKind::kExact : PseudoInverseKind::kApproximate;
    return traits;
  }

  at::Tensor forward(const at::Tensor& x) const override {
    const at::Tensor images = checked_batch(x, domain(), "the image batch");
    if (!images.is_cpu()) return on_device_.forward(images);
    at::Tensor kspace = at::empty({images.size(0), n_coils(), height_, width_}, images.options());
    for_each_sample(images.size(0), [&](std::int64_t b) {
      at::Tensor ramped = at::empty({height_, width_}, images.options());
      multiply(ramped, image_ramp_, images[b][0]);
      in_parallel(n_coils(), [&](std::int64_t c) {
        at::Tensor coil_image = ramped;
        if (has_maps()) {
          coil_image = at::empty_like(ramped);
          multiply(coil_image, maps_[c], ramped);
        }
        at::Tensor coil_kspace = kspace[b][c];
        multiply(coil_kspace, kspace_weights_, plain_dft(coil_image, {0, 1}, true));
      });
    });
    return kspace;
  }

  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& /*x*/) const override {
    const at::Tensor kspace = checked_batch(v, codomain(), "the k-space batch");
    if (!kspace.is_cpu()) return on_device_.adjoint(kspace);
    at::Tensor images = at::empty({kspace.size(0), 1, height_, width_}, kspace.options());
    for_each_sample(kspace.size(0), [&](std::int64_t b) {
      std::vector<at::Tensor> coil_images(n_coils());
      in_parallel(n_coils(), [&](std::int64_t c) {
        at::Tensor weighted = at::empty({height_, width_}, kspace.options());
        conj_multiply(weighted, kspace_weights_, kspace[b][c]);
        coil_images[c] = plain_dft(weighted, {0, 1}, false);
      });
      at::Tensor combined = coil_images[0];
      if (has_maps()) {
        combined = at::empty_like(combined);
        conj_combine(combined, maps_, coil_images);
      }
      at::Tensor image = images[b][0];
      conj_multiply(image, image_ramp_, combined);
    });
    return images;
  }

  at::Tensor normal(const at::Tensor& x) const override {
    const at::Tensor images = checked_batch(x, domain(), "the image batch");
    if (!images.is_cpu()) return on_device_.normal(images);
    return in_working_layout(images, [&](const at::Tensor& image) { return has_maps() ? projected_through_coils(image) : filter_.project(image); });
  }

  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override {
    if (has_maps()) return Operator::normal_solve(lambda, b);
    const at::Tensor images = checked_batch(b, domain(), "the right-hand side");
    if (!images.is_cpu()) return on_device_.normal_solve(lambda, images);
    // A^H A is F^H M F: diagonal in k-space with the values 0 and 1.
    const at::Tensor weights = filter_.weights(1.0 / (1.0 + lambda), 1.0 / lambda);
    return in_working_layout(images, [&](const at::Tensor& image) { return filter_.apply(image, weights); });
  }

  /// Zero-filled: sum_c conj(S_c) F^H y_c / sum_c |S_c|^2, and 0 where no coil sees anything.
  at::Tensor pseudo_inverse(const at::Tensor& y) const override {
    at::Tensor images = adjoint(y, at::Tensor());
    if (!has_maps()) return images;
    const at::Tensor& weights = inverse_energy_->on(images.device());
    if (!images.is_cpu()) return images.mul_(weights);
    for_each_sample(images.size(0), [&](std::int64_t b) {
      at::Tensor image = images[b][0];
      multiply(image, weights, image);
    });
    return images;
  }

  double norm_bound() const override { return norm_bound_; }

 private:
  bool has_maps() const { return maps_.defined(); }
  std::int64_t n_coils() const { return has_maps() ? maps_.size(0) : 1; }

  /// Work on each image in the working layout of the filter.
  template <class Work>
  at::Tensor in_working_layout(const at::Tensor& images, const Work& work) const {
    at::Tensor out = at::empty_like(images);
    for_each_sample(images.size(0), [&](std::int64_t b) { out[b][0].copy_(filter_.from_working(work(filter_.to_working(images[b][0])))); });
    return out;
  }

  /// sum_c conj(S_c) F^H M F (S_c x), all in the working layout.
  at::Tensor projected_through_coils(const at::Tensor& image) const {
    std::vector<at::Tensor> coil_images(n_coils());
    in_parallel(n_coils(), [&](std::int64_t c) {
      at::Tensor coil_image = at::empty_like(image);
      multiply(coil_image, working_maps_[c], image);
      coil_images[c] = filter_.project(coil_image);
    });
    at::Tensor combined = at::empty_like(image);
    conj_combine(combined, working_maps_, coil_images);
    return combined;
  }

  std::int64_t height_, width_;
  at::Tensor maps_;                         ///< complex64 [coil, H, W] or undefined
  at::Tensor working_maps_;                 ///< the same in the filter's layout
  at::Tensor image_ramp_, kspace_weights_;  ///< complex64 [H, W]; the second is ramp times mask
  SpectralFilter filter_;
  DeviceFourier on_device_;
  std::optional<PerDevice<at::Tensor>> inverse_energy_;  ///< complex64 [H, W]: 1 / sum |S|^2, 0 where that is 0
  bool full_mask_;
  double norm_bound_ = 1.0;  ///< max over pixels of sqrt(sum |S|^2); exact where the mask is full
};

at::Tensor without_leading_ones(at::Tensor tensor, std::int64_t n_axes) {
  while (tensor.dim() > n_axes && tensor.size(0) == 1) tensor = tensor.squeeze(0);
  return tensor;
}

/// The `sens-maps` as complex64 [coil, H, W], or undefined when they are not set.
at::Tensor read_maps(const Parameters& parameters, std::int64_t height, std::int64_t width) {
  if (!parameters.has("sens-maps")) return {};
  const at::Tensor& given = parameters.tensor("sens-maps");
  const at::Tensor maps = without_leading_ones(given, 3);
  if (maps.dim() != 3 || maps.size(1) != height || maps.size(2) != width || maps.size(0) == 0) {
    throw Error(ErrorKind::kBadData, "sens-maps is " + shape_text(given.sizes()),
                "it must be [coil, " + std::to_string(height) + ", " + std::to_string(width) + "] for this image");
  }
  const std::int64_t n_bad = maps.numel() - at::isfinite(maps).sum().item<std::int64_t>();
  if (n_bad > 0) {
    throw Error(ErrorKind::kBadData, "sens-maps holds " + std::to_string(n_bad) + " values that are not finite",
                "coil sensitivities must be numbers");
  }
  if (!maps.ne(0).any().item<bool>()) throw Error(ErrorKind::kBadData, "sens-maps is 0 everywhere", "at least one coil must see a pixel");
  constexpr bool kNonBlocking = false, kCopy = true;  // the caller may change its tensor afterwards
  return maps.resolve_conj().to(at::kCPU, at::kComplexFloat, kNonBlocking, kCopy).contiguous();
}

/// The `mask` as boolean [H, W]; one line of values is taken along the phase-encode axis.
at::Tensor read_mask(const at::Tensor& given, std::int64_t height, std::int64_t width, PhaseEncode phase_encode) {
  at::Tensor mask = without_leading_ones(given, 2);
  const bool along_rows = phase_encode == PhaseEncode::kRows;
  const bool is_plane = mask.dim() == 2 && mask.size(0) == height && mask.size(1) == width;
  const at::Tensor line = is_plane ? mask : without_leading_ones(mask, 1);
  if (!is_plane) {
    const std::int64_t n = along_rows ? height : width;
    if (line.dim() != 1 || line.size(0) != n) {
      throw Error(
          ErrorKind::kBadData, "mask is " + shape_text(given.sizes()),
          "it must be [" + std::to_string(height) + ", " + std::to_string(width) + "], or [" + std::to_string(n) + "] for whole lines");
    }
    mask = (along_rows ? line.unsqueeze(1) : line.unsqueeze(0)).expand({height, width});
  }
  if (mask.isnan().any().item<bool>()) throw Error(ErrorKind::kBadData, "mask holds NaN", "it must hold 0 or, where acquired, 1");
  mask = mask.ne(0).cpu().contiguous();
  if (!mask.any().item<bool>()) throw Error(ErrorKind::kBadData, "mask is 0 everywhere", "at least one sample must be acquired");
  return mask;
}

const std::vector<std::string> kPatternNames = {"full", "equispaced", "random", "variable-density", "variable-density-2d", "poisson-disc"};

/// Names in the order of MaskPattern.
MaskPattern pattern_of(const std::string& name) {
  for (std::size_t i = 0; i < kPatternNames.size(); ++i) {
    if (kPatternNames[i] == name) return static_cast<MaskPattern>(i);
  }
  throw Error(ErrorKind::kConfiguration, "mask-pattern=" + name + " is not known",
              "full, equispaced, random, variable-density, variable-density-2d or poisson-disc");
}

PhaseEncode phase_encode_of(const std::string& name) {
  if (name == "y") return PhaseEncode::kRows;
  if (name == "x") return PhaseEncode::kColumns;
  throw Error(ErrorKind::kConfiguration, "undersample-axis=" + name + " is not known", "y or x");
}

at::Tensor generated_mask(const MaskRequest& request) {
  std::vector<std::uint8_t> mask = make_mask(request);
  return at::from_blob(mask.data(), {request.height, request.width}, at::kByte).to(at::kBool);
}

constexpr double kAcceleration = 4.0;          // where a pattern is asked for without it

at::Tensor choose_mask(const Parameters& parameters, std::int64_t height, std::int64_t width) {
  MaskRequest request;
  request.pattern = pattern_of(parameters.text("mask-pattern"));
  request.phase_encode = phase_encode_of(parameters.text("undersample-axis"));
  if (request.pattern == MaskPattern::kFull && parameters.has("acceleration"))
    throw Error(ErrorKind::kConfiguration, "acceleration=" + std::to_string(parameters.real("acceleration")) + " without a mask-pattern leaves nothing out",
                "set it, to equispaced for example");
  if (parameters.has("mask")) {
    if (request.pattern != MaskPattern::kFull) {
      throw Error(ErrorKind::kConfiguration, "mask and mask-pattern=" + parameters.text("mask-pattern") + " are both set",
                  "drop one of them");
    }
    return read_mask(parameters.tensor("mask"), height, width, request.phase_encode);
  }
  request.height = height;
  request.width = width;
  request.acceleration = parameters.has("acceleration") ? parameters.real("acceleration") : kAcceleration;
  if (parameters.has("n-acs-lines")) request.n_acs_lines = parameters.integer("n-acs-lines");
  request.seed = static_cast<std::uint64_t>(parameters.integer("mask-seed"));
  return generated_mask(request);
}

std::unique_ptr<Operator> make(const Parameters& parameters) {
  const std::int64_t height = parameters.integer("height"), width = parameters.integer("width");
  if (height < 1 || width < 1) {
    throw Error(ErrorKind::kConfiguration, "height=" + std::to_string(height) + ", width=" + std::to_string(width),
                "both must be at least 1");
  }
  const at::Tensor maps = read_maps(parameters, height, width);
  if (!maps.defined() && parameters.integer("coils") != 1) {
    throw Error(ErrorKind::kConfiguration, "coils=" + std::to_string(parameters.integer("coils")) + " without sens-maps",
                "several coils need sens-maps, complex [coil, " + std::to_string(height) + ", " + std::to_string(width) + "]");
  }
  return std::make_unique<MriFourier>(maps, choose_mask(parameters, height, width));
}

}  // namespace

const OperatorType& mri_fourier_type() {
  using enum ParameterType;
  static const OperatorType type = {
      "mri-fourier",
      "Cartesian MRI: coil sensitivities, orthonormal centred Fourier transform, sampling mask",
      {{"height", kInteger, "", "", true, 1, {}, {}, "Image rows, which is also the number of ky lines."},
       {"width", kInteger, "", "", true, 1, {}, {}, "Image columns, which is also the number of kx samples."},
       {"coils", kInteger, "", "1", false, 1, {}, {}, "Receive coils; with sens-maps their number counts instead."},
       {"sens-maps", kTensor, "", "", false, {}, {}, {}, "Coil sensitivities, complex [coil, height, width]."},
       {"mask", kTensor, "", "", false, {}, {}, {}, "Acquired samples, not 0: [height, width], or a value for each line."},
       {"mask-pattern", kChoice, "", "full", false, {}, {}, kPatternNames, "Mask to make when none is given; the last two are 2-D."},
       {"acceleration", kReal, "", "", false, 1, {}, {}, "All samples over acquired ones, the calibration block included; default 4 with a pattern."},
       {"n-acs-lines", kInteger, "", "", false, 0, {}, {}, "Calibration lines, or side of the 2-D block; default a third, at most 24."},
       {"mask-seed", kInteger, "", "0", false, 0, {}, {}, "Seed of the random patterns."},
       {"undersample-axis", kChoice, "", "y", false, {}, {}, {"y", "x"}, "Whether ky (y) or kx (x) lines are left out."}},
      make,
      {.cpu = true, .cuda = true}};
  return type;
}

}  // namespace postrec
