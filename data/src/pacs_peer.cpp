#include "postrec/data/pacs_peer.hpp"

#include <algorithm>
#include <charconv>

#include "input_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr std::size_t kMaxTitle = 16, kMaxHost = 100;  // DCMTK 3.6.7 copies the host into 128 bytes

bool is_host(const std::string& host) {
  return !host.empty() && host.size() <= kMaxHost &&
         std::all_of(host.begin(), host.end(), [](unsigned char c) { return (c < 0x80 && std::isalnum(c)) || c == '.' || c == '-' || c == '_'; });
}

}  // namespace

std::string PacsPeer::name() const { return called_title + "@" + host + ":" + std::to_string(port); }

void check_pacs_title(const std::string& title) {
  const bool printable = std::all_of(title.begin(), title.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f && c != '\\'; });
  if (title.empty() || title.size() > kMaxTitle || !printable || title.front() == ' ' || title.back() == ' ')
    throw Error(ErrorKind::kUsage, "an application entity title is not one", "it has 1 to 16 printable ASCII characters, no backslash, no blank at its ends");
}

PacsPeer parse_pacs_peer(const std::string& text) {
  const auto at = text.find('@'), colon = text.rfind(':');
  const std::string hint = "write TITLE@HOST:PORT, for example ARCHIVE@pacs.example.org:104";
  if (at == std::string::npos || colon == std::string::npos || colon < at) throw Error(ErrorKind::kUsage, "the address of the PACS is not complete", hint);
  PacsPeer peer;
  peer.called_title = text.substr(0, at);
  peer.host = text.substr(at + 1, colon - at - 1);
  check_pacs_title(peer.called_title);
  if (!is_host(peer.host)) throw Error(ErrorKind::kUsage, "the host in the address of the PACS is neither a name nor an IPv4 address", hint);
  const char* end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data() + colon + 1, end, peer.port);
  if (failure != std::errc() || rest != end || peer.port < 1 || peer.port > 65535)
    throw Error(ErrorKind::kUsage, "the port in the address of the PACS is not from 1 to 65535", hint);
  return peer;
}

void check_pacs_tls(const PacsTls& tls) {
  if (tls.key.empty() != tls.certificate.empty()) throw Error(ErrorKind::kUsage, "a TLS key and its certificate belong together", "give --tls-key and --tls-cert");
  if (!tls.enabled() && (!tls.key.empty() || !tls.peer_sha256.empty()))
    throw Error(ErrorKind::kUsage, "TLS without the certificates to trust", "give --tls-ca, for a self-signed peer its own certificate");
  const bool digest = tls.peer_sha256.size() == 64 && tls.peer_sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!tls.peer_sha256.empty() && !digest)
    throw Error(ErrorKind::kUsage, "the fingerprint of the peer is not a SHA-256", "give 64 hexadecimal digits, as openssl x509 -fingerprint -sha256 prints them");
  for (const auto& file : {tls.key, tls.certificate, tls.authorities})
    if (!file.empty()) check_input_file(file);
}

}  // namespace postrec
