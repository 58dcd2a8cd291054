#pragma once

#include <filesystem>
#include <string>

namespace postrec {

/// The key that makes case ids opaque: who has ids alone cannot try out names. 64 hexadecimal digits in a file that only its owner can read.
class SiteKey {
 public:
  /// Reads the file. Throws Error: kNoInput, kBadData.
  static SiteKey read(const std::filesystem::path& path);
  /// A new one from the system's random source, not written anywhere.
  static SiteKey random();
  /// Throws Error(kCannotCreate or kInputOutput); an existing file stays and is an error.
  void write(const std::filesystem::path& path) const;

  /// The first 16 hexadecimal digits of HMAC-SHA256(key, text). [RFC 2104]
  std::string opaque_id(const std::string& text) const;

 private:
  explicit SiteKey(std::string bytes) : bytes_(std::move(bytes)) {}
  std::string bytes_;
};

/// Whether a label may stand in names as it is: letters and digits, 1 to 64 of them. [BIDS 1.9, "label"]
bool is_plain_label(const std::string& label);

/// Whether a file name without its ending is that of BIDS: "sub-01_ses-2_run-1_T1w". Such a name is an id by itself.
bool is_bids_name(const std::string& name);

/// HMAC-SHA256 in lower-case hexadecimal. [RFC 2104]
std::string hmac_sha256_hex(const std::string& key, const std::string& text);

/// So many random bytes of the system's source, in hexadecimal: for keys and for names that nobody else takes, never for samples.
std::string random_hex(std::size_t n_bytes);

}  // namespace postrec
