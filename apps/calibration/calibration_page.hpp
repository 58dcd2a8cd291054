#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace postrec {

/// A certificate (certificate.json) as one HTML page that needs no other file: verdict, tables, the coverage curve, and of each ranked quantity the histogram of its
/// ranks and the difference of their ECDF from that of even ranks inside its band.
std::string calibration_page(const nlohmann::ordered_json& certificate);

}  // namespace postrec
