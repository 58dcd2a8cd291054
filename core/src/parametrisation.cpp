#include "postrec/parametrisation.hpp"

#include <ATen/ATen.h>

#include <string>

#include "postrec/error.hpp"

namespace postrec {

at::Tensor image_from_prediction(Prediction prediction, const at::Tensor& x_t, const at::Tensor& output, double sigma, double scale) {
  if (!(sigma >= 0.0) || !(scale > 0.0))
    throw Error(ErrorKind::kInternal, "a network's output at sigma " + std::to_string(sigma) + " and scale " + std::to_string(scale),
                "sigma must not be negative and scale be positive");
  switch (prediction) {
    case Prediction::kImage: return output;
    case Prediction::kNoise: return x_t - output * sigma;
    case Prediction::kVelocity: return (x_t - output * (sigma / scale)) * (1.0 / (1.0 + sigma * sigma));
    case Prediction::kScore: return x_t + output * (sigma * sigma * scale);
  }
  throw Error(ErrorKind::kInternal, "a prediction without a formula");
}

}  // namespace postrec
