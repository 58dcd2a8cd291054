#include "dicom_uid.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "postrec/sha256.hpp"

namespace postrec {

namespace {

constexpr std::size_t kMaxUidLength = 64;

std::array<std::uint8_t, 16> uuid_of(const std::string& name) {
  const std::string text = "postrec:" + name;
  const std::string hex = sha256_hex(text.data(), text.size());
  std::array<std::uint8_t, 16> uuid{};
  for (std::size_t i = 0; i < uuid.size(); ++i) std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, uuid[i], 16);
  uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x80);  // version 8: made by a rule of our own
  uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);  // the variant of RFC 9562
  return uuid;
}

/// A number of 128 bits, most significant byte first, in decimal.
std::string decimal_of(std::array<std::uint8_t, 16> number) {
  std::string digits;
  while (std::any_of(number.begin(), number.end(), [](std::uint8_t byte) { return byte != 0; })) {
    unsigned remainder = 0;
    for (auto& byte : number) {
      const unsigned value = remainder * 256 + byte;
      byte = static_cast<std::uint8_t>(value / 10);
      remainder = value % 10;
    }
    digits += static_cast<char>('0' + remainder);
  }
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace

bool valid_uid(std::string_view text) {
  if (text.empty() || text.size() > kMaxUidLength) return false;
  bool in_number = false;
  for (const char c : text) {
    if (c >= '0' && c <= '9') in_number = true;
    else if (c == '.' && in_number) in_number = false;
    else return false;
  }
  return in_number;
}

std::string derived_uid(const std::string& name) { return "2.25." + decimal_of(uuid_of(name)); }

}  // namespace postrec
