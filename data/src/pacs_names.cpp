#include "pacs_names.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>

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

const std::vector<std::string>& native_syntaxes() {
  static const std::vector<std::string> all = {UID_LittleEndianExplicitTransferSyntax, UID_LittleEndianImplicitTransferSyntax};
  return all;
}

const std::vector<std::string>& compressed_syntaxes() {
  static const std::vector<std::string> all = {UID_JPEGProcess14SV1TransferSyntax, UID_JPEGProcess14TransferSyntax, UID_JPEGLSLosslessTransferSyntax, UID_JPEG2000LosslessOnlyTransferSyntax,
                                               UID_RLELosslessTransferSyntax, UID_JPEGProcess1TransferSyntax, UID_JPEGProcess2_4TransferSyntax, UID_JPEGLSLossyTransferSyntax,
                                               UID_JPEG2000TransferSyntax};
  return all;
}

}  // namespace postrec
