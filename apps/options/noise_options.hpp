#pragma once

#include "case/noise_model.hpp"
#include "options/options.hpp"

namespace postrec {

/// --noise-model and what belongs to it, with a help of their own: --help-noise.
void add_noise_options(CommandOptions& options);
NoiseOptions noise_options(const CommandOptions& options);

}  // namespace postrec
