#pragma once

#include "options/options.hpp"
#include "postrec/sampler.hpp"

namespace postrec {

/// --preset, --sampler, --samples, --steps, --batch-size, and under --help-sampling the rest: solver, settings, budget, levels, tolerance, --precision.
void add_sampler_options(CommandOptions& options);

/// What they say. A preset gives method, levels and number of samples; what is given by itself wins. The seed is not set here.
/// Throws Error(kUsage) on an unknown preset and on settings that are no numbers; SamplerOptions::validate does the rest.
SamplerOptions sampler_options(const CommandOptions& options);

}  // namespace postrec
