#pragma once

#include <string>

namespace postrec {

std::string program_version();                 ///< "0.1.0"
std::string libtorch_version();                ///< "2.11.0"
std::string version_text();                    ///< what --version prints

}  // namespace postrec
