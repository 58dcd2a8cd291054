#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace postrec {

/// What compare_methods gives: the averages as a table for people, and every slice as lines of comma-separated values.
std::string comparison_table(const nlohmann::ordered_json& comparison);
std::string comparison_csv(const nlohmann::ordered_json& comparison);

}  // namespace postrec
