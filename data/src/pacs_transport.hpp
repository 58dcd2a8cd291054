#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dcmlayer.h>
#include <dcmtk/dcmtls/tlslayer.h>

#include <cstdint>
#include <memory>

#include "postrec/data/pacs_peer.hpp"

namespace postrec {

/// The bytes under an association, plain or TLS, with what DCMTK's own layer lacks: a limit on what a peer may send before allow() is called again, so that no instance, query or
/// association request can fill memory or disk, and the SHA-256 of the peer's certificate, compared before the first byte of DICOM. Must outlive the network that uses it.
class PacsTransport : public DcmTransportLayer {
 public:
  /// Throws Error(kBadData) when a key or certificate cannot be used. Sets DCMTK's socket timeouts, silences its loggers.
  PacsTransport(const PacsTls& tls, T_ASC_NetworkRole role, int connect_seconds, int answer_seconds);

  DcmTransportConnection* createConnection(DcmNativeSocketType socket, OFBool secure) override;

  /// From now on the peer may send so many bytes.
  void allow(std::uint64_t bytes) { allowed_ = bytes; }
  /// False when the peer has sent more.
  bool take(std::uint64_t bytes);
  bool exhausted() const { return exhausted_; }

  bool secure() const { return tls_ != nullptr; }
  const std::string& peer_sha256() const { return peer_sha256_; }
  void set_pin_failed() { pin_failed_ = true; }
  bool pin_failed() const { return pin_failed_; }

 private:
  std::unique_ptr<DcmTLSTransportLayer> tls_;
  std::string peer_sha256_;
  std::uint64_t allowed_ = 0;
  bool exhausted_ = false;
  bool pin_failed_ = false;
};

}  // namespace postrec
