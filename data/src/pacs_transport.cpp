#include "pacs_transport.hpp"

#include <dcmtk/dcmdata/dcdict.h>
#include <dcmtk/dcmnet/dcmtrans.h>
#include <dcmtk/dcmnet/dul.h>
#include <dcmtk/oflog/oflog.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

/// Hands everything to the connection of DCMTK, and counts and compares on the way.
class GuardedConnection : public DcmTransportConnection {
 public:
  GuardedConnection(DcmNativeSocketType socket, DcmTransportConnection* inner, PacsTransport& guard)
      : DcmTransportConnection(socket), inner_(inner), guard_(guard) {}

  OFCondition serverSideHandshake() override { return checked(inner_->serverSideHandshake()); }
  OFCondition clientSideHandshake() override { return checked(inner_->clientSideHandshake()); }
  OFCondition renegotiate(const char* suite) override { return inner_->renegotiate(suite); }
  ssize_t write(void* bytes, size_t n) override { return inner_->write(bytes, n); }
  void close() override { inner_->close(); }
  void closeTransportConnection() override { inner_->closeTransportConnection(); }
  unsigned long getPeerCertificateLength() override { return inner_->getPeerCertificateLength(); }
  unsigned long getPeerCertificate(void* bytes, unsigned long n) override { return inner_->getPeerCertificate(bytes, n); }
  OFBool networkDataAvailable(int timeout) override { return inner_->networkDataAvailable(timeout); }
  OFBool isTransparentConnection() override { return inner_->isTransparentConnection(); }
  OFString& dumpConnectionParameters(OFString& text) override { return inner_->dumpConnectionParameters(text); }

  ssize_t read(void* bytes, size_t n) override {
    const ssize_t count = inner_->read(bytes, n);
    if (count <= 0 || guard_.take(static_cast<std::uint64_t>(count))) return count;
    errno = ECONNRESET;
    return -1;
  }

 private:
  OFCondition checked(const OFCondition& handshake) {
    if (handshake.bad() || guard_.peer_sha256().empty()) return handshake;
    std::vector<unsigned char> certificate(inner_->getPeerCertificateLength());
    const unsigned long n = certificate.empty() ? 0 : inner_->getPeerCertificate(certificate.data(), certificate.size());
    if (n == certificate.size() && n > 0 && sha256_hex(certificate.data(), n) == guard_.peer_sha256()) return handshake;
    guard_.set_pin_failed();
    return OFCondition(OFM_dcmnet, DULC_TLSERROR, OF_error, "another certificate than the pinned one");
  }

  std::unique_ptr<DcmTransportConnection> inner_;
  PacsTransport& guard_;
};

void require_usable(const OFCondition& condition, const std::filesystem::path& file) {
  if (condition.bad()) throw Error(ErrorKind::kBadData, quoted_path(file) + " cannot be used for TLS", "it must be a PEM file, the key without a password");
}

std::unique_ptr<DcmTLSTransportLayer> tls_layer(const PacsTls& tls, T_ASC_NetworkRole role) {
  auto layer = std::make_unique<DcmTLSTransportLayer>(role, nullptr, OFTrue);
  layer->setPrivateKeyPasswd("");  // else OpenSSL would ask for it on the terminal
  require_usable(layer->addTrustedCertificateFile(tls.authorities.c_str(), DCF_Filetype_PEM), tls.authorities);
  if (!tls.key.empty()) {
    require_usable(layer->setPrivateKeyFile(tls.key.c_str(), DCF_Filetype_PEM), tls.key);
    require_usable(layer->setCertificateFile(tls.certificate.c_str(), DCF_Filetype_PEM), tls.certificate);
    if (!layer->checkPrivateKeyMatchesCertificate())
      throw Error(ErrorKind::kBadData, "the TLS key does not belong to its certificate", "give the key that the certificate was made for");
  }
  // ND: the profile without it falls back to TLS 1.0.
  if (layer->setTLSProfile(TSP_Profile_BCP195_ND).bad() || layer->activateCipherSuites().bad())
    throw Error(ErrorKind::kUnavailable, "this OpenSSL has none of the cipher suites of DICOM's non-downgrading BCP 195 profile");
  layer->setCertificateVerification(DCV_requireCertificate);
  return layer;
}

}  // namespace

PacsTransport::PacsTransport(const PacsTls& tls, T_ASC_NetworkRole role, int connect_seconds, int answer_seconds) : peer_sha256_(tls.peer_sha256) {
  ::unsetenv("DCMDICTPATH");
  OFLog::configure(OFLogger::OFF_LOG_LEVEL);  // DCMTK logs values of data sets
  dcmDataDict.rdlock();                       // read now, not in each forked child
  dcmDataDict.rdunlock();
  dcmDisableGethostbyaddr.set(OFTrue);
  dcmConnectionTimeout.set(connect_seconds);
  dcmSocketSendTimeout.set(answer_seconds);
  dcmSocketReceiveTimeout.set(answer_seconds);
  if (tls.enabled()) tls_ = tls_layer(tls, role);
}

DcmTransportConnection* PacsTransport::createConnection(DcmNativeSocketType socket, OFBool secure) {
  // Requests and answers are small and alternate: Nagle's algorithm would hold each back for 40 ms.
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  DcmTransportConnection* inner = secure ? (tls_ ? tls_->createConnection(socket, secure) : nullptr) : new DcmTCPConnection(socket);
  return inner ? new GuardedConnection(socket, inner, *this) : nullptr;
}

bool PacsTransport::take(std::uint64_t bytes) {
  if (bytes > allowed_) {
    exhausted_ = true;
    return false;
  }
  allowed_ -= bytes;
  return true;
}

}  // namespace postrec
