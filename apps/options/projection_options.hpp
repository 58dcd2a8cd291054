#pragma once

#include "options/options.hpp"
#include "postrec/data/ct_projections.hpp"

namespace postrec {

/// --geometry and --mid-plane, with a help of their own: --help-ct.
void add_projection_options(CommandOptions& options);
/// What they say; nothing where they are not declared.
ProjectionOptions projection_options(const CommandOptions& options);

}  // namespace postrec
