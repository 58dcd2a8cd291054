#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "postrec/error_table.hpp"
#include "postrec/parametrisation.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// How the input of a module is scaled.
enum class ModuleInput {
  kVarianceExploding,   ///< x + sigma n, as inside PostRec
  kVariancePreserving,  ///< (x + sigma n) / (1 + sigma^2)^(1/2)
};

/// What somebody's module takes and gives.
struct ModuleConvention {
  Prediction prediction = Prediction::kImage;
  ModuleInput input = ModuleInput::kVarianceExploding;
  SpectralBasis basis = SpectralBasis::kDft;   ///< DFT: complex images, two real channels each; DCT: real ones
  std::int64_t channels = 1;                   ///< of the image
};

/// A denoiser that was exported from Python by torch.jit.script or torch.jit.trace: its forward(x float32 [B, C, H, W], sigma float32 [B]) gives
/// what `prediction` says, [B, C, H, W], a complex image as two channels. sigma is that of x + sigma n, whatever the input's scale.
///
/// Loading one runs somebody's program. Callers must have the user's word for it.
class TorchScriptModule {
 public:
  /// `sha256`: what the file must be; empty for any. Throws Error: kNoInput (no such file), kBadData (another file, no TorchScript, no forward).
  TorchScriptModule(const std::filesystem::path& path, ModuleConvention convention, const std::string& sha256 = "");

  const std::filesystem::path& path() const { return path_; }
  const std::string& sha256() const { return sha256_; }
  const ModuleConvention& convention() const { return convention_; }

  /// E[x | x_t], [B, C, H, W] real or complex. Image by image on the CPU, all together on other devices, each of which has a copy of the module, as NetworkPrior. Throws Error(kBadData) when the module fails or gives
  /// another type or shape.
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const;

 private:
  struct Compiled;
  at::Tensor denoise_images(const at::Tensor& x_t, double sigma) const;

  std::filesystem::path path_;
  std::string sha256_;
  ModuleConvention convention_;
  std::shared_ptr<Compiled> compiled_;
};

/// A prior of such a module, with what was measured of it.
class TorchScriptPrior : public Prior {
 public:
  /// Throws Error(kBadData) when the table is of another basis or number of channels, or the range is not 0 < minimum < maximum.
  TorchScriptPrior(TorchScriptModule module, ErrorTable errors, SigmaRange range, PriorInfo info);

  TensorSpec domain() const override;
  const PriorInfo& info() const override { return info_; }
  SigmaRange range() const override { return range_; }
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override { return errors_.corrected(x_t, module_.denoise(x_t, sigma), sigma); }
  bool error_covariance_is_measured() const override { return true; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const override {
    return errors_.at_sigma(sigma, image_shape);
  }
  SpectralCovariance error_covariance_around(const at::Tensor& denoised, double sigma) const override { return errors_.around(denoised, sigma); }

  const TorchScriptModule& module() const { return module_; }
  const ErrorTable& errors() const { return errors_; }

 private:
  TorchScriptModule module_;
  ErrorTable errors_;
  SigmaRange range_;
  PriorInfo info_;
};

}  // namespace postrec
