#pragma once

#include <string>
#include <vector>

namespace postrec {

/// The name of an instance on our disk and in the ledger: SHA-256 of its SOPInstanceUID, 64 hexadecimal digits.
std::string instance_digest(const std::string& sop_instance_uid);

/// The name of a series' folder: the first 16 hexadecimal digits of SHA-256 of its SeriesInstanceUID.
std::string series_digest(const std::string& series_instance_uid);

/// A DIMSE status as the standard writes it: "0xA700".
std::string hexadecimal(unsigned status);

/// The uncompressed transfer syntaxes that are offered, the preferred one first.
const std::vector<std::string>& native_syntaxes();

/// The compressed ones in which instances are fetched and taken as they are: those that reading understands, the lossless ones first.
const std::vector<std::string>& compressed_syntaxes();

}  // namespace postrec
