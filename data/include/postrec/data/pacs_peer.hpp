#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace postrec {

/// TLS is on when `authorities` is given. Files are PEM.
struct PacsTls {
  std::filesystem::path key;          ///< our private key, without a password
  std::filesystem::path certificate;  ///< our certificate
  std::filesystem::path authorities;  ///< the certificates that the peer's must be signed by (a self-signed one signs itself)
  std::string peer_sha256;            ///< when not empty, the peer's certificate must have this SHA-256 (of its DER form, 64 hexadecimal digits)

  bool enabled() const { return !authorities.empty(); }
};

/// A DICOM application on the network, and who we are to it.
struct PacsPeer {
  std::string host;
  int port = 104;
  std::string called_title;               ///< its application entity title
  std::string calling_title = "POSTREC";  ///< ours
  PacsTls tls;
  int connect_seconds = 10;  ///< longest wait for the connection
  int answer_seconds = 30;   ///< longest wait for an answer, and for the next bytes of one

  /// "TITLE@host:port".
  std::string name() const;
};

/// When a lost connection, a busy or an unreachable peer is tried again: after first_seconds * 2^n, at most longest_seconds, times a random number from .5 to 1.
/// The count starts anew whenever an instance got through.
struct PacsRetry {
  int retries = 5;
  double first_seconds = 1.0;
  double longest_seconds = 60.0;
};

/// What a transfer asks and tells its caller. Both may be empty. No message holds a value of a data set.
struct PacsHooks {
  std::function<bool()> interrupted;
  std::function<void(const std::string&)> say;
};

/// "TITLE@host:port" into called_title, host and port. Throws Error(kUsage) for a title that DICOM does not allow (1 to 16 printable ASCII characters without backslash),
/// a host of other characters than those of names and IPv4 addresses, a port outside 1 to 65535.
PacsPeer parse_pacs_peer(const std::string& text);

/// Throws Error(kUsage) unless `title` is an application entity title.
void check_pacs_title(const std::string& title);

/// Throws Error: kUsage (key without certificate, a fingerprint that is none), kNoInput (a file that is missing), so that they come before anything is sent.
void check_pacs_tls(const PacsTls& tls);

}  // namespace postrec
