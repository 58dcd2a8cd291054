#include "pacs_names.hpp"

#include <cstdio>

#include "postrec/sha256.hpp"

namespace postrec {

std::string instance_digest(const std::string& sop_instance_uid) { return sha256_hex(sop_instance_uid.data(), sop_instance_uid.size()); }

std::string series_digest(const std::string& series_instance_uid) { return sha256_hex(series_instance_uid.data(), series_instance_uid.size()).substr(0, 16); }

std::string hexadecimal(unsigned status) {
  char text[8];
  std::snprintf(text, sizeof text, "0x%04X", status & 0xFFFFu);
  return text;
}

}  // namespace postrec
