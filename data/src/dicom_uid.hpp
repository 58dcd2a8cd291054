#pragma once

#include <string>
#include <string_view>

namespace postrec {

/// Whether a text is a UID as DICOM writes it: numbers with dots between them, at most 64 characters. What comes from a file or a peer is used as a name,
/// a key or a reference only after this check. [DICOM PS3.5, 9.1]
bool valid_uid(std::string_view text);

/// The UID that belongs to a name, the same every time: "2.25." and, in decimal, a UUID of version 8 made of the first 128 bits of the SHA-256 of
/// "postrec:" + name. The root 2.25 needs no registration. At most 44 characters. [DICOM PS3.5, B.2; RFC 9562, 5.8]
std::string derived_uid(const std::string& name);

}  // namespace postrec
