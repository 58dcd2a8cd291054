#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "postrec/classifier.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr double kMostClasses = 1e6;

/// Images of one class: score of the prior + scale * grad log p(class | x_t). [Song 2021, section 5 and eq. 14; Dhariwal 2021, algorithms 1 and 2]
/// Differs from [Dhariwal 2021, algorithm 1]: the gradient enters the score, as in its algorithm 2, so that every solver weighs it as it weighs the
/// score; there the mean of an ancestral step moves by the gradient times that step's variance. Both are one for short steps.
class ClassGuidance : public Guidance {
 public:
  explicit ClassGuidance(const SamplingTask& task) : Guidance(task) {
    if (!task.classifier) throw Error(ErrorKind::kUsage, "method 'class-guidance' without a classifier", "set SamplerOptions::classifier");
    if (task.setting("class") != std::floor(task.setting("class")) || class_ >= task.classifier->n_classes())
      throw Error(ErrorKind::kUsage, "sampler setting class is " + std::to_string(task.setting("class")),
                  "the classifier knows the classes 0 to " + std::to_string(task.classifier->n_classes() - 1));
  }

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& /*call*/, LevelRecord& /*record*/) override {
    const at::Tensor denoised = task_.denoise(x_t, sigma);
    return linear_combination(1.0, denoised, scale_ * sigma * sigma, task_.classifier->log_probability(x_t, sigma, class_).gradient);
  }

 private:
  const std::int64_t class_ = static_cast<std::int64_t>(task_.setting("class"));
  const double scale_ = task_.setting("scale");
};

}  // namespace

MethodEntry class_guidance_entry() {
  MethodEntry entry;
  entry.info = {"class-guidance", "Images of one class, by the gradient of a classifier that knows the noise level.",
                "[Song 2021, eq. 14; Dhariwal 2021, algorithm 1]",
                {{"class", 0.0, 0.0, kMostClasses, "which class, from 0"},
                 {"scale", 1.0, 0.0, std::numeric_limits<double>::infinity(), "of the gradient: 1 samples p(x | class), more sharpens it"}},
                "dpm-solver-2m"};
  entry.needs = Needs::kNoMeasurement;
  entry.guide = [](const SamplingTask& task) { return std::make_unique<ClassGuidance>(task); };
  return entry;
}

}  // namespace postrec
