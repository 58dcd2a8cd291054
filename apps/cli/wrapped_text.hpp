#pragma once

#include <cstddef>
#include <string>

namespace postrec {

/// A text of several lines, those longer than `width` characters broken at blanks. What follows a break is indented as its line is. A word longer than a line stays whole.
std::string wrapped(const std::string& text, std::size_t width);

/// An example of the command line, ready to be pasted: its lines are joined, and broken anew before options, with a backslash and four blanks; the first has two blanks.
std::string wrapped_command(const std::string& command, std::size_t width);

}  // namespace postrec
