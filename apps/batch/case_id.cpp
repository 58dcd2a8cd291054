#include "batch/case_id.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <regex>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

constexpr std::size_t kKeyBytes = 32, kBlockBytes = 64, kIdDigits = 16, kLongestName = 120;

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string hex_of_bytes(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes)
    for (const int nibble : {(byte >> 4) & 15, byte & 15}) hex += "0123456789abcdef"[nibble];
  return hex;
}

std::string random_bytes(std::size_t n_bytes) {
  std::string bytes(n_bytes, '\0');
  if (::getrandom(bytes.data(), n_bytes, 0) != static_cast<ssize_t>(n_bytes))
    throw Error(ErrorKind::kTemporary, "the system gives no random bytes", "try again later");
  return bytes;
}

std::string padded(const std::string& key, char pad) {
  std::string block = key.size() > kBlockBytes ? bytes_of_hex(sha256_hex(key.data(), key.size())) : key;
  block.resize(kBlockBytes, '\0');
  for (char& byte : block) byte = static_cast<char>(byte ^ pad);
  return block;
}

}  // namespace

std::string hmac_sha256_hex(const std::string& key, const std::string& text) {
  const std::string inner = padded(key, 0x36) + text;
  const std::string outer = padded(key, 0x5c) + bytes_of_hex(sha256_hex(inner.data(), inner.size()));
  return sha256_hex(outer.data(), outer.size());
}

std::string random_hex(std::size_t n_bytes) { return hex_of_bytes(random_bytes(n_bytes)); }

SiteKey SiteKey::random() { return SiteKey(random_bytes(kKeyBytes)); }

SiteKey SiteKey::read(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string hex;
  if (!(file >> hex)) throw Error(ErrorKind::kNoInput, "the site key " + quoted_path(path) + " cannot be read", "give a file with 64 hexadecimal digits");
  if (hex.size() != 2 * kKeyBytes || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " is not a site key", "it must hold 64 hexadecimal digits (0-9, a-f)");
  return SiteKey(bytes_of_hex(hex));
}

void SiteKey::write(const std::filesystem::path& path) const {
  const std::string text = hex_of_bytes(bytes_) + "\n";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) throw Error(write_error_kind(errno), quoted_path(path) + " cannot be created: " + std::strerror(errno), "check that the folder can be written");
  const bool written = write_all(file, text) && ::fsync(file) == 0;
  const int reason = errno;
  ::close(file);
  if (written) return;
  ::unlink(path.c_str());
  throw Error(ErrorKind::kInputOutput, quoted_path(path) + " cannot be written: " + std::strerror(reason), "check the free space");
}

std::string SiteKey::opaque_id(const std::string& text) const { return hmac_sha256_hex(bytes_, text).substr(0, kIdDigits); }

bool is_plain_label(const std::string& label) {
  static const std::regex kLabel("[A-Za-z0-9]{1,64}");
  return std::regex_match(label, kLabel);
}

bool is_bids_name(const std::string& name) {
  static const std::regex kName("sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*(_[A-Za-z0-9]+)?");
  return name.size() <= kLongestName && std::regex_match(name, kName);
}

}  // namespace postrec
