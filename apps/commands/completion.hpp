#pragma once

#include <string>
#include <vector>

#include "options/command_text.hpp"

namespace postrec {

/// A script that makes bash complete commands, options and file names. It knows the options itself: no TAB starts the program.
std::string bash_completion(const std::vector<CommandText>& commands);

/// The same for zsh, which also shows what options mean: a file _postrec in a folder of $fpath.
std::string zsh_completion(const std::vector<CommandText>& commands);

}  // namespace postrec
