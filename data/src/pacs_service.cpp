#include "pacs_service.hpp"

#include <dcmtk/dcmdata/dcuid.h>
#include <dcmtk/dcmnet/dimse.h>
#include <dcmtk/dcmnet/dul.h>

#include <algorithm>
#include <string>
#include <vector>

#include "pacs_names.hpp"

namespace postrec {
namespace {

constexpr std::uint64_t kCommandBytes = 1 << 20;

/// DCMTK's network and association on an accepted socket. [dul.h, dcmExternalSocketHandle]
struct Caller {
  T_ASC_Network* network = nullptr;
  T_ASC_Association* association = nullptr;

  ~Caller() {
    if (association) {
      ASC_dropAssociation(association);
      ASC_destroyAssociation(&association);
    }
    if (network) ASC_dropNetwork(&network);
  }
};

void reject(T_ASC_Association* association, T_ASC_RejectParametersResult result, T_ASC_RejectParametersSource source, T_ASC_RejectParametersReason reason) {
  const T_ASC_RejectParameters parameters{result, source, reason};
  ASC_rejectAssociation(association, &parameters);
}

/// Whether the titles are right; else the caller was told.
bool is_welcome(T_ASC_Association* association, const PacsListenOptions& options, bool busy) {
  char calling[65] = {}, called[65] = {};
  ASC_getAPTitles(association->params, calling, sizeof calling, called, sizeof called, nullptr, 0);
  const auto& callers = options.callers;
  if (busy) {
    reject(association, ASC_RESULT_REJECTEDTRANSIENT, ASC_SOURCE_SERVICEPROVIDER_PRESENTATION_RELATED, ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED);
  } else if (options.title != called) {
    reject(association, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER, ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED);
  } else if (!callers.empty() && std::find(callers.begin(), callers.end(), calling) == callers.end()) {
    reject(association, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER, ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED);
  } else {
    return true;
  }
  return false;
}

/// Every storage class, in the encodings that are kept as they come. The uncompressed ones first: a caller that offers both sends what everybody reads.
bool accept_contexts(T_ASC_Association* association) {
  const char* verification[] = {UID_VerificationSOPClass};
  std::vector<const char*> syntaxes;
  for (const auto* all : {&native_syntaxes(), &compressed_syntaxes()})
    for (const auto& syntax : *all) syntaxes.push_back(syntax.c_str());
  return ASC_acceptContextsWithPreferredTransferSyntaxes(association->params, verification, 1, syntaxes.data(), static_cast<int>(native_syntaxes().size())).good() &&
         ASC_acceptContextsWithPreferredTransferSyntaxes(association->params, dcmAllStorageSOPClassUIDs, numberOfDcmAllStorageSOPClassUIDs, syntaxes.data(),
                                                         static_cast<int>(syntaxes.size()))
             .good() &&
         ASC_acknowledgeAssociation(association).good();
}

bool is(const OFCondition& condition, unsigned short code) { return condition.module() == OFM_dcmnet && condition.code() == code; }

/// One request. True while the association goes on.
bool serve_request(T_ASC_Association* association, const PacsListenOptions& options, PacsTransport& transport, PacsReception& reception, ServiceEnd& end) {
  transport.allow(kCommandBytes);
  T_ASC_PresentationContextID context = 0;
  T_DIMSE_Message message{};
  DcmDataset* detail = nullptr;
  const OFCondition received = DIMSE_receiveCommand(association, DIMSE_NONBLOCKING, options.answer_seconds, &context, &message, &detail);
  delete detail;
  end = ServiceEnd::kLost;
  if (is(received, DULC_PEERREQUESTEDRELEASE)) {
    ASC_acknowledgeRelease(association);
    end = ServiceEnd::kReleased;
    return false;
  }
  if (received.bad()) return false;
  if (message.CommandField == DIMSE_C_ECHO_RQ) return DIMSE_sendEchoResponse(association, context, &message.msg.CEchoRQ, STATUS_Success, nullptr).good();
  if (message.CommandField != DIMSE_C_STORE_RQ) return false;
  PacsReception::Outcome outcome;
  const bool good = reception.receive(association, transport, context, message.msg.CStoreRQ, options.answer_seconds, outcome).good();
  if (!good && transport.exhausted()) end = ServiceEnd::kTooLarge;
  return good;
}

/// The next bytes of the caller, in steps of a second, so that a stop is not waited for.
bool wait_for_request(T_ASC_Association* association, const PacsListenOptions& options, ServiceEnd& end) {
  for (int second = 0; second < options.answer_seconds; ++second) {
    if (options.hooks.interrupted && options.hooks.interrupted()) {
      end = ServiceEnd::kStopped;
      return false;
    }
    if (ASC_dataWaiting(association, 1)) return true;
  }
  end = ServiceEnd::kLost;
  return false;
}

}  // namespace

ServiceEnd serve_caller(int socket, const PacsListenOptions& options, PacsTransport& transport, PacsReception& reception, bool busy) {
  dcmExternalSocketHandle.set(socket);
  Caller caller;
  if (ASC_initializeNetwork(NET_ACCEPTOR, 0, options.answer_seconds, &caller.network).bad()) return ServiceEnd::kLost;
  ASC_setTransportLayer(caller.network, &transport, 0);
  transport.allow(kCommandBytes);
  if (ASC_receiveAssociation(caller.network, &caller.association, ASC_MAXIMUMPDUSIZE, nullptr, nullptr, transport.secure(), DUL_NOBLOCK, options.answer_seconds).bad())
    return ServiceEnd::kLost;
  if (!is_welcome(caller.association, options, busy)) return ServiceEnd::kRejected;
  if (!accept_contexts(caller.association)) return ServiceEnd::kLost;
  ServiceEnd end = ServiceEnd::kLost;
  while (wait_for_request(caller.association, options, end) && serve_request(caller.association, options, transport, reception, end)) {
  }
  return end;
}

}  // namespace postrec
