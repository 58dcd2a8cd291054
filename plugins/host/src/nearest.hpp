#pragma once

#include <string>
#include <vector>

namespace postrec {

/// The candidate with the smallest edit distance (insert, delete, replace, swap neighbours) to `word`; empty when there is no candidate.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// "did you mean 'height'? known are 'height', 'width'", for the hint of an error.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace postrec
