#pragma once

#include <string>
#include <vector>

#include "options/command_text.hpp"

namespace postrec {

/// The help of every command in the table of commands, in its order: each is asked for its --help. So a new command comes in by itself.
std::vector<CommandText> all_command_texts();

/// What a command says of itself in the table of commands.
std::string command_summary(const std::string& name);

}  // namespace postrec
