#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/dimse.h>

namespace postrec::test {

/// An archive that says what a test has it say, at this port for ever. `accept(T_ASC_Parameters*)` chooses the presentation contexts of an association,
/// `answer(T_ASC_Association*, T_ASC_PresentationContextID, T_DIMSE_Message&)` meets each of its commands.
template <class Accept, class Answer>
void serve_associations(int port, const Accept& accept, const Answer& answer) {
  OFLog::configure(OFLogger::OFF_LOG_LEVEL);
  T_ASC_Network* network = nullptr;
  if (ASC_initializeNetwork(NET_ACCEPTOR, port, 5, &network).bad()) return;
  for (;;) {
    T_ASC_Association* association = nullptr;
    if (ASC_receiveAssociation(network, &association, ASC_MAXIMUMPDUSIZE).good()) {
      accept(association->params);
      ASC_acknowledgeAssociation(association);
      for (;;) {
        T_ASC_PresentationContextID id = 0;
        T_DIMSE_Message message{};
        DcmDataset* detail = nullptr;
        const OFCondition received = DIMSE_receiveCommand(association, DIMSE_BLOCKING, 0, &id, &message, &detail);
        delete detail;
        if (received == DUL_PEERREQUESTEDRELEASE) ASC_acknowledgeRelease(association);
        if (received.bad()) break;
        answer(association, id, message);
      }
    }
    ASC_dropAssociation(association);
    ASC_destroyAssociation(&association);
  }
}

}  // namespace postrec::test
