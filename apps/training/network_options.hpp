#pragma once

#include "options/options.hpp"
#include "training/network_training.hpp"

namespace postrec {

/// The options of `postrec train --kind network`, a group of their own.
void add_network_options(CommandOptions& options);

/// What they say. `basis`, `smooth_phase` and `intensity` decide how images may be varied. Throws Error: kUsage, kBadData, kUnavailable (device).
TrainingOptions network_options(const CommandOptions& options, SpectralBasis basis, bool smooth_phase, PriorIntensity intensity);
/// Throws Error(kCannotCreate) when there is a checkpoint that is neither to be resumed nor overwritten.
TrainingRun training_run(const CommandOptions& options, const std::filesystem::path& output);

/// How a network was trained, for its file.
std::string training_text(const TrainingOptions& options);

}  // namespace postrec
