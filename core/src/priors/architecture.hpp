#pragma once

#include <string>

#include "postrec/unet.hpp"

namespace postrec {

/// A UNetConfig as JSON, every member by its name: what a prior file says about its network.
std::string architecture_text(const UNetConfig& config);

/// The inverse. Throws Error(kBadData) on text that is not such JSON, lacks a member, has one of another type, or one that is not known.
UNetConfig architecture_of(const std::string& text);

}  // namespace postrec
