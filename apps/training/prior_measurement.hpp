#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "options/options.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/torchscript_prior.hpp"
#include "training/training_scans.hpp"

namespace postrec {

/// --measure and what it needs, a part of `postrec train`: somebody's TorchScript module becomes a prior by measuring it.
void add_module_options(CommandOptions& options);

/// The module of --measure, loaded. Throws Error: kUnavailable (without --allow-code), kUsage (not beside `output`; no --trained-on), and what
/// TorchScriptModule throws.
TorchScriptModule module_to_measure(const CommandOptions& options, SpectralBasis basis, std::int64_t channels);
void require_measurable(const CommandOptions& options, const std::filesystem::path& output);

/// Measures its sigma range and c(sigma) on slices that it has not been trained on: up to 32 of them, evenly spread. Throws Error: kBadData
/// (the module fails or beats neither its input nor the mean image), kInterrupted.
TorchScriptPrior measured_prior(const TorchScriptModule& module, const std::vector<TrainingSlice>& slices, bool smooth_phase, std::uint64_t seed, PriorInfo info);

/// A network prior with its error measured anew on these slices, everything else as it was: for another scanner, or for files from before the envelope.
/// Throws Error(kInterrupted).
NetworkPrior remeasured_prior(const NetworkPrior& prior, const std::vector<TrainingSlice>& slices, bool smooth_phase, std::uint64_t seed);

}  // namespace postrec
