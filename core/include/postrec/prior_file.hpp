#pragma once

#include <filesystem>
#include <memory>

#include "postrec/gaussian_prior.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/prior.hpp"
#include "postrec/torchscript_prior.hpp"

namespace postrec {

/// Whether a prior may be a program (TorchScript), which can do whatever the user can.
enum class CodePolicy { kRefuse, kAllow };

/// Loads a prior from a safetensors file by memory map. `pixel_mm` > 0: the pixel size of the images to reconstruct, for priors that can
/// adapt to it. A file of kind torchscript holds what was measured of a module that lies beside it, and the module's sha256.
/// Throws Error, naming the file: kNoInput, kBadData (not safetensors, truncated, overlapping, wrong type, not finite; metadata that is missing,
/// empty or does not fit the tensors; content, or a module, that is not what was written), kUnavailable (a program that is not allowed).
std::unique_ptr<Prior> load_prior(const std::filesystem::path& path, double pixel_mm = 0.0, CodePolicy policy = CodePolicy::kRefuse);

/// Writes a prior (temporary name, then rename). Throws Error: kBadData (as require_complete), kCannotCreate, kInputOutput.
void save_prior(const std::filesystem::path& path, const GaussianPrior& prior);
void save_prior(const std::filesystem::path& path, const NetworkPrior& prior);
/// What was measured of a module; the module itself must lie in the same folder (require_beside).
void save_prior(const std::filesystem::path& path, const TorchScriptPrior& prior);

/// Throws Error(kUsage) unless the module lies in the folder of the prior's file, as it must.
void require_beside(const std::filesystem::path& prior, const std::filesystem::path& module);

/// Throws Error(kBadData) unless the facts are all there that a file must hold: name, licence, trained_on, and for a learned prior how it was
/// trained. To be asked before a long computation, because save_prior asks after it.
void require_complete(const PriorInfo& info, bool is_learned);

}  // namespace postrec
