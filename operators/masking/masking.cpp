#include "masking/masking.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/check_batch.hpp"
#include "common/counter_hash.hpp"
#include "common/per_device.hpp"

namespace postrec {
namespace {

class Masking final : public Operator {
 public:
  /// hidden: boolean [H, W].
  Masking(const TensorSpec& image, const at::Tensor& hidden)
      : image_(image), hidden_([hidden](at::Device device) { return hidden.to(device); }), full_(!hidden.any().item<bool>()) {}

  TensorSpec domain() const override { return image_; }
  TensorSpec codomain() const override { return image_; }
  OperatorTraits traits() const override { return {true, true, full_ ? PseudoInverseKind::kExact : PseudoInverseKind::kApproximate}; }
  double norm_bound() const override { return 1.0; }

  at::Tensor forward(const at::Tensor& x) const override { return masked(x, "the image batch"); }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& /*x*/) const override { return masked(v, "the measurement batch"); }
  at::Tensor normal(const at::Tensor& x) const override { return masked(x, "the image batch"); }
  at::Tensor pseudo_inverse(const at::Tensor& y) const override { return masked(y, "the measurement batch"); }

  /// b / (m + lambda).
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override {
    const at::Tensor images = checked_batch(b, image_, "the right-hand side");
    const at::Tensor& hidden = hidden_.on(images.device());
    const at::Tensor weights = at::full(hidden.sizes(), 1.0 / (1.0 + lambda), hidden.options().dtype(at::kFloat)).masked_fill_(hidden, 1.0 / lambda);
    if (image_.dtype == at::kFloat) return images * weights;
    // Real parts apart: one rounding each, whatever loop LibTorch takes.
    return at::view_as_complex(at::view_as_real(images) * weights.unsqueeze(-1));
  }

 private:
  /// Fills rather than multiplies, so that what a hidden pixel holds, NaN included, never gets through.
  at::Tensor masked(const at::Tensor& batch, const char* name) const {
    const at::Tensor values = checked_batch(batch, image_, name);
    return values.masked_fill(hidden_.on(values.device()), 0);
  }

  TensorSpec image_;
  PerDevice<at::Tensor> hidden_;
  bool full_;
};

std::string size_text(std::int64_t height, std::int64_t width) { return std::to_string(height) + " x " + std::to_string(width); }

at::Tensor mask_from_tensor(const at::Tensor& given, std::int64_t height, std::int64_t width) {
  at::Tensor mask = given;
  while (mask.dim() > 2 && mask.size(0) == 1) mask = mask.squeeze(0);
  if (mask.dim() != 2 || mask.size(0) != height || mask.size(1) != width) {
    throw Error(ErrorKind::kBadData, "mask is " + shape_text(given.sizes()),
                "it must be [" + std::to_string(height) + ", " + std::to_string(width) + "]");
  }
  if (mask.isnan().any().item<bool>()) throw Error(ErrorKind::kBadData, "mask holds NaN", "it must hold 0 or, where the pixel is seen, 1");
  return mask.ne(0).cpu();
}

at::Tensor box_mask(const Parameters& parameters, std::int64_t height, std::int64_t width) {
  const std::int64_t top = parameters.integer("top"), left = parameters.integer("left");
  const std::int64_t box_height = parameters.integer("box-height"), box_width = parameters.integer("box-width");
  if (top < 0 || left < 0 || box_height < 1 || box_width < 1 || top + box_height > height || left + box_width > width) {
    throw Error(ErrorKind::kConfiguration,
                "the box of " + size_text(box_height, box_width) + " at top=" + std::to_string(top) + ", left=" + std::to_string(left) +
                    " does not lie in the image of " + size_text(height, width),
                "top, left, box-height and box-width are in pixels");
  }
  at::Tensor mask = at::ones({height, width}, at::kBool);
  mask.narrow(0, top, box_height).narrow(1, left, box_width).fill_(false);
  return mask;
}

/// Exactly max(1, round(keep_fraction * H * W)) pixels, those with the smallest hashes.
at::Tensor random_mask(const Parameters& parameters, std::int64_t height, std::int64_t width) {
  const double keep_fraction = parameters.real("keep-fraction");
  if (!(keep_fraction > 0.0 && keep_fraction <= 1.0)) {
    throw Error(ErrorKind::kConfiguration, "keep-fraction=" + std::to_string(keep_fraction), "it must be above 0 and at most 1");
  }
  const auto seed = static_cast<std::uint64_t>(parameters.integer("mask-seed"));
  std::vector<std::int64_t> order(height * width);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return counter_hash(seed, a) < counter_hash(seed, b); });
  const auto n_kept = std::max<std::int64_t>(1, std::llround(keep_fraction * static_cast<double>(height * width)));
  at::Tensor mask = at::zeros({height * width}, at::kBool);
  bool* kept = mask.data_ptr<bool>();
  for (std::int64_t k = 0; k < n_kept; ++k) kept[order[k]] = true;
  return mask.view({height, width});
}

at::Tensor choose_mask(const Parameters& parameters, std::int64_t height, std::int64_t width) {
  const std::string& pattern = parameters.text("pattern");
  if (parameters.has("mask")) {
    if (pattern != "full") throw Error(ErrorKind::kConfiguration, "mask and pattern=" + pattern + " are both set", "drop one of them");
    return mask_from_tensor(parameters.tensor("mask"), height, width);
  }
  if (pattern == "full") return at::ones({height, width}, at::kBool);
  if (pattern == "box") return box_mask(parameters, height, width);
  if (pattern == "random") return random_mask(parameters, height, width);
  throw Error(ErrorKind::kConfiguration, "pattern=" + pattern + " is not known", "full, box or random");
}

std::unique_ptr<Operator> make(const Parameters& parameters) {
  const std::int64_t channels = parameters.integer("channels"), height = parameters.integer("height"), width = parameters.integer("width");
  if (channels < 1 || height < 1 || width < 1) {
    throw Error(ErrorKind::kConfiguration, std::to_string(channels) + " channels of " + size_text(height, width),
                "each must be at least 1");
  }
  const TensorSpec image = {{channels, height, width}, parameters.boolean("complex") ? at::kComplexFloat : at::kFloat};
  const at::Tensor mask = choose_mask(parameters, height, width);
  if (!mask.any().item<bool>()) throw Error(ErrorKind::kBadData, "the mask hides every pixel", "at least one pixel must be seen");
  return std::make_unique<Masking>(image, mask.logical_not());
}

}  // namespace

const OperatorType& masking_type() {
  using enum ParameterType;
  static const OperatorType type = {
      "masking",
      "Inpainting: some pixels are seen, the others are hidden",
      {{"channels", kInteger, "", "1", false, 1, {}, {}, "Image channels."},
       {"height", kInteger, "", "", true, 1, {}, {}, "Image rows."},
       {"width", kInteger, "", "", true, 1, {}, {}, "Image columns."},
       {"complex", kBoolean, "", "false", false, {}, {}, {}, "Images are complex64 instead of float32."},
       {"mask", kTensor, "", "", false, {}, {}, {}, "Seen pixels, not 0, [height, width]."},
       {"pattern", kChoice, "", "full", false, {}, {}, {"full", "box", "random"}, "Mask to make when none is given: full hides nothing."},
       {"top", kInteger, "pixel", "0", false, 0, {}, {}, "First hidden row of the box."},
       {"left", kInteger, "pixel", "0", false, 0, {}, {}, "First hidden column of the box."},
       {"box-height", kInteger, "pixel", "1", false, 1, {}, {}, "Hidden rows."},
       {"box-width", kInteger, "pixel", "1", false, 1, {}, {}, "Hidden columns."},
       {"keep-fraction", kReal, "", "0.5", false, 0, 1, {}, "Fraction of the pixels that pattern=random shows."},
       {"mask-seed", kInteger, "", "0", false, 0, {}, {}, "Seed of pattern=random."}},
      make,
      {.cpu = true, .cuda = true}};
  return type;
}

}  // namespace postrec
