#pragma once

#include <string>
#include <vector>

#include "options/command_text.hpp"

namespace postrec {

/// postrec(1) with all commands, in the macros of man(7).
std::string man_page(const std::vector<CommandText>& commands);

/// postrec-COMMAND(1): one command, or the sub-commands of one.
std::string man_page_of(const std::string& command, const std::vector<CommandText>& commands);

}  // namespace postrec
