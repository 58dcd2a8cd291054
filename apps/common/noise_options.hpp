#pragma once

#include "common/noise_model.hpp"
#include "common/options.hpp"

namespace postrec {

/// --noise-model and what belongs to it, with a help of their own: --help-noise.
void add_noise_options(CommandOptions& options);
NoiseOptions noise_options(const CommandOptions& options);

}  // namespace postrec
