#pragma once

#include <string>
#include <vector>

namespace postrec {

/// The known name with the fewest edits (insert, delete, replace) to `name`; empty when none is near enough to be meant.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

/// "did you mean 'NEAREST'?", or "known: a, b, c" when none is near, or "there is none".
std::string nearest_hint(const std::string& name, const std::vector<std::string>& known);

std::string joined(const std::vector<std::string>& words, const std::string& separator);

}  // namespace postrec
