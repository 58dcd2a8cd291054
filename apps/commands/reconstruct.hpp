#pragma once

#include <string>
#include <vector>

#include "case/case.hpp"
#include "run/session.hpp"

namespace postrec {

/// What a command line of `postrec reconstruct` asks for.
struct ReconstructRequest {
  CaseOptions input;
  SessionOptions session;
};

/// Parses and checks the words after `postrec reconstruct` without doing anything. Throws Error as that command does for a wrong command line.
ReconstructRequest parse_reconstruct(const std::vector<std::string>& arguments);

}  // namespace postrec
