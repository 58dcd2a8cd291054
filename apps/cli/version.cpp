#include "cli/version.hpp"

#include <torch/headeronly/version.h>

namespace postrec {

std::string program_version() { return POSTREC_VERSION; }

std::string libtorch_version() {
  return std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + "." + std::to_string(TORCH_VERSION_PATCH);
}

std::string version_text() {
  return "postrec " + program_version() + " (LibTorch " + libtorch_version() + ")\nResearch software, not a medical device: not for diagnosis.\n";
}

}  // namespace postrec
