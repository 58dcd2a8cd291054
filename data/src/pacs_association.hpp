#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pacs_transport.hpp"
#include "postrec/error.hpp"

namespace postrec {

/// The largest PDU that we ask for, and what a peer may send as a command, which fits into one. DCMTK reads commands in our own process and follows their nesting: 65 kB of it do no harm,
/// 240 kB would end us.
inline constexpr long kPduBytes = 1 << 16;
inline constexpr std::uint64_t kCommandAnswerBytes = kPduBytes + 4096;

/// A kind of object in an association, and how it may be encoded.
struct PacsContext {
  std::string abstract_syntax;
  std::vector<std::string> transfer_syntaxes;
  bool we_store = false;  ///< C-GET: the peer sends, we keep (role SCP)
};

/// An open association that we asked for; released, or dropped when an exception flies by.
/// It is made of DCMTK's ASC_ and DIMSE_ functions as storescu and getscu are, because DcmSCU does not tell why an association was rejected, keeps received instances in memory or
/// under the name that the peer chose (CVE-2026-50003), and cannot store to a name of ours.
class PacsAssociation {
 public:
  /// At most 128 contexts. Throws Error: kTemporary (worth another try), kPacs (rejected, untrusted).
  PacsAssociation(const PacsPeer& peer, const std::vector<PacsContext>& contexts);
  ~PacsAssociation();
  PacsAssociation(const PacsAssociation&) = delete;
  PacsAssociation& operator=(const PacsAssociation&) = delete;

  T_ASC_Association* get() const { return association_; }
  PacsTransport& transport() { return transport_; }
  const PacsPeer& peer() const { return peer_; }
  int timeout() const { return peer_.answer_seconds; }

  /// The accepted context of a kind, in any or in one encoding; nothing when the peer refused it.
  std::optional<T_ASC_PresentationContextID> context(const std::string& abstract_syntax) const;
  std::optional<T_ASC_PresentationContextID> context(const std::string& abstract_syntax, const std::string& transfer_syntax) const;

  /// Throws Error(kTemporary) unless the condition is good: connection lost, no answer in time.
  void require_good(const OFCondition& condition);

  /// The polite end; failures to say goodbye are nobody's concern.
  void release();

 private:
  [[noreturn]] void throw_refusal(const OFCondition& condition, T_ASC_Parameters* parameters);

  PacsPeer peer_;
  PacsTransport transport_;
  T_ASC_Network* network_ = nullptr;
  T_ASC_Association* association_ = nullptr;
};

/// Throws when a DIMSE status is neither success nor a warning: Error(kTemporary) for statuses that time can mend (out of resources, processing failure), else Error(kPacs).
void require_status(unsigned status, const std::string& operation);

/// Whether time can mend it: 0xA7xx out of resources, 0x0110 processing failure, 0x0213 resource limitation.
bool is_temporary_status(unsigned status);
/// 0xBxxx and the general warnings 0x0001, 0x0107, 0x0116.
bool is_warning_status(unsigned status);

}  // namespace postrec
