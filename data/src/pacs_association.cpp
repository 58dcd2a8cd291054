#include "pacs_association.hpp"

#include <dcmtk/dcmnet/dimse.h>

#include <cstring>

#include "pacs_names.hpp"

namespace postrec {
namespace {

bool is(const OFCondition& condition, unsigned short code) { return condition.module() == OFM_dcmnet && condition.code() == code; }

/// What OpenSSL says of certificates and protocols; a connection that broke during the handshake is none.
bool is_tls_refusal(const OFCondition& condition) {
  return (condition.module() == OFM_dcmtls || is(condition, DULC_TLSERROR)) && std::strstr(condition.text(), "unexpected eof") == nullptr;
}

/// Two of these can pass with time: limits of the peer. "No reason" can be anything, so it is tried again, too.
Error rejection(const T_ASC_RejectParameters& rejection, const std::string& peer) {
  switch (rejection.reason) {
    case ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED:
      return {ErrorKind::kPacs, peer + " does not know the title that it was called by", "ask its administrator for its title"};
    case ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED:
      return {ErrorKind::kPacs, peer + " does not know our title", "have it added there, or give another --aet"};
    case ASC_REASON_SP_PRES_TEMPORARYCONGESTION:
    case ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED:
      return {ErrorKind::kTemporary, peer + " is busy", "try again later"};
    case ASC_REASON_SU_NOREASON:
    case ASC_REASON_SP_ACSE_NOREASON:
      return {ErrorKind::kTemporary, peer + " rejected the association without a reason", "ask its administrator whether it knows our title"};
    default:
      return {rejection.result == ASC_RESULT_REJECTEDTRANSIENT ? ErrorKind::kTemporary : ErrorKind::kPacs, peer + " rejected the association"};
  }
}

void add_context(T_ASC_Parameters* parameters, T_ASC_PresentationContextID id, const PacsContext& context) {
  std::vector<const char*> syntaxes;
  for (const auto& syntax : context.transfer_syntaxes) syntaxes.push_back(syntax.c_str());
  ASC_addPresentationContext(parameters, id, context.abstract_syntax.c_str(), syntaxes.data(), static_cast<int>(syntaxes.size()),
                             context.we_store ? ASC_SC_ROLE_SCP : ASC_SC_ROLE_DEFAULT);
}

T_ASC_Parameters* parameters_of(const PacsPeer& peer, const std::vector<PacsContext>& contexts, bool secure) {
  T_ASC_Parameters* parameters = nullptr;
  if (ASC_createAssociationParameters(&parameters, kPduBytes).bad()) throw Error(ErrorKind::kOutOfMemory, "no memory for an association");
  ASC_setAPTitles(parameters, peer.calling_title.c_str(), peer.called_title.c_str(), nullptr);
  ASC_setTransportLayerType(parameters, secure);
  ASC_setPresentationAddresses(parameters, "localhost", (peer.host + ":" + std::to_string(peer.port)).c_str());
  T_ASC_PresentationContextID id = 1;
  for (const auto& context : contexts) {
    add_context(parameters, id, context);
    id = static_cast<T_ASC_PresentationContextID>(id + 2);
  }
  return parameters;
}

constexpr std::uint64_t kNegotiationBytes = 1 << 20;

}  // namespace

PacsAssociation::PacsAssociation(const PacsPeer& peer, const std::vector<PacsContext>& contexts)
    : peer_(peer), transport_(peer.tls, NET_REQUESTOR, peer.connect_seconds, peer.answer_seconds) {
  if (ASC_initializeNetwork(NET_REQUESTOR, 0, peer.answer_seconds, &network_).bad()) throw Error(ErrorKind::kInternal, "the DICOM network cannot be initialised");
  ASC_setTransportLayer(network_, &transport_, 0);
  T_ASC_Parameters* parameters = parameters_of(peer, contexts, transport_.secure());
  transport_.allow(kNegotiationBytes);
  const OFCondition condition = ASC_requestAssociation(network_, parameters, &association_, nullptr, nullptr, DUL_NOBLOCK, peer.answer_seconds);
  if (condition.bad()) throw_refusal(condition, parameters);
}

PacsAssociation::~PacsAssociation() {
  if (association_) {
    ASC_dropAssociation(association_);
    ASC_destroyAssociation(&association_);
  }
  if (network_) ASC_dropNetwork(&network_);
}

void PacsAssociation::throw_refusal(const OFCondition& condition, T_ASC_Parameters* parameters) {
  const std::string peer = peer_.name();
  Error error(ErrorKind::kTemporary, peer + " cannot be reached: " + condition.text(), "is it running, and are host and port right?");
  if (is(condition, DULC_ASSOCIATIONREJECTED)) {
    T_ASC_RejectParameters reasons{};
    ASC_getRejectParameters(parameters, &reasons);
    error = rejection(reasons, peer);
  } else if (transport_.pin_failed()) {
    error = Error(ErrorKind::kPacs, peer + " showed another certificate than the pinned one", "compare --tls-peer-fingerprint with its certificate");
  } else if (is_tls_refusal(condition)) {
    error = Error(ErrorKind::kPacs, "no TLS with " + peer + ": " + condition.text(), "does it speak TLS, and does each side trust the other's certificate?");
  } else if (is(condition, DULC_UNKNOWNHOST)) {
    error = Error(ErrorKind::kPacs, "the host of " + peer + " is not known", "check its name");
  } else if (is(condition, DULC_READTIMEOUT)) {
    error = Error(ErrorKind::kTemporary, peer + " did not answer within " + std::to_string(peer_.answer_seconds) + " s", "is it a DICOM application, with TLS or without?");
  }
  // The association owns the parameters; the destructor does not run for an object that was not made.
  if (association_) ASC_destroyAssociation(&association_);
  ASC_dropNetwork(&network_);
  throw error;
}

std::optional<T_ASC_PresentationContextID> PacsAssociation::context(const std::string& abstract_syntax) const {
  const auto id = ASC_findAcceptedPresentationContextID(association_, abstract_syntax.c_str());
  return id == 0 ? std::nullopt : std::optional(id);
}

std::optional<T_ASC_PresentationContextID> PacsAssociation::context(const std::string& abstract_syntax, const std::string& transfer_syntax) const {
  const auto id = ASC_findAcceptedPresentationContextID(association_, abstract_syntax.c_str(), transfer_syntax.c_str());
  if (id == 0) return std::nullopt;
  // DCMTK falls back to any context of the abstract syntax.
  T_ASC_PresentationContext found{};
  const bool same = ASC_findAcceptedPresentationContext(association_->params, id, &found).good() && transfer_syntax == found.acceptedTransferSyntax;
  return same ? std::optional(id) : std::nullopt;
}

void PacsAssociation::require_good(const OFCondition& condition) {
  if (condition.good()) return;
  // DCMTK's texts can hold what the peer sent, so the reasons are told apart here.
  if (transport_.exhausted()) throw Error(ErrorKind::kPacs, peer_.name() + " sent more than the limit allows", "raise --max-instance-mb if it was an instance of that size");
  const bool late = is(condition, DIMSEC_NODATAAVAILABLE) || is(condition, DULC_READTIMEOUT);
  throw Error(ErrorKind::kTemporary, late ? peer_.name() + " did not answer within " + std::to_string(peer_.answer_seconds) + " s" : "the connection to " + peer_.name() + " was lost",
              "try again; what got through is known");
}

void PacsAssociation::release() {
  if (association_) ASC_releaseAssociation(association_);
}

bool is_temporary_status(unsigned status) { return (status & 0xFF00u) == 0xA700u || status == 0x0110 || status == 0x0213; }

bool is_warning_status(unsigned status) { return (status & 0xF000u) == 0xB000u || status == 0x0001 || status == 0x0107 || status == 0x0116; }

void require_status(unsigned status, const std::string& operation) {
  if (status == 0 || is_warning_status(status)) return;
  throw Error(is_temporary_status(status) ? ErrorKind::kTemporary : ErrorKind::kPacs, operation + " failed with status " + hexadecimal(status),
              "ask the administrator of the PACS whether we may do so");
}

}  // namespace postrec
