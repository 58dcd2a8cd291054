#pragma once

#include <string>

namespace postrec {

/// The time now as in logs and run.json, "2026-11-28T20:15:06Z". [ISO 8601]
std::string utc_time();

}  // namespace postrec
