// postrec pacs send to an archive that stores with a warning.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include "../data/stub_archive.hpp"
#include "pacs_fixture.hpp"

namespace postrec {
namespace {

constexpr DIC_US kCoerced = 0xB000;            // stored, but data elements were changed [PS3.4, table B.2-1]

void answer_store(T_ASC_Association* association, T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ& request) {
  DcmDataset* received = nullptr;
  DIMSE_receiveDataSetInMemory(association, DIMSE_NONBLOCKING, 5, &id, &received, nullptr, nullptr);
  const std::unique_ptr<DcmDataset> owner(received);
  T_DIMSE_C_StoreRSP response{};
  response.MessageIDBeingRespondedTo = request.MessageID;
  response.DimseStatus = kCoerced;
  response.DataSetType = DIMSE_DATASET_NULL;
  DIMSE_sendStoreResponse(association, id, &request, &response, nullptr);
}

void serve(int port) {
  const auto accept = [](T_ASC_Parameters* params) {
    const char* objects[] = {UID_MRImageStorage};
    const char* syntaxes[] = {UID_LittleEndianExplicitTransferSyntax};
    ASC_acceptContextsWithPreferredTransferSyntaxes(params, objects, 1, syntaxes, 1);
  };
  test::serve_associations(port, accept, [](T_ASC_Association* association, T_ASC_PresentationContextID id, T_DIMSE_Message& message) {
    if (message.CommandField == DIMSE_C_STORE_RQ) answer_store(association, id, message.msg.CStoreRQ);
  });
}

/// In a process of its own until the end of the scope.
class DoubtingArchive {
 public:
  DoubtingArchive() : port_(free_port()), pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve(port_);
    _exit(0);
  }
  ~DoubtingArchive() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  DoubtingArchive(const DoubtingArchive&) = delete;
  DoubtingArchive& operator=(const DoubtingArchive&) = delete;

  std::string peer() const { return "ARCHIVE@127.0.0.1:" + std::to_string(port_); }

 private:
  int port_;
  pid_t pid_;
};

TEST_F(PacsTest, AWarningCountsAsStoredUnlessItIsRefused) {
  write_study("sent_study", 1);
  const DoubtingArchive archive;
  const Ended stored = send("sent_study", archive.peer(), {"--retries", "100", "--retry-delay", "0.1", "--retry-delay-max", "0.2"});  // until it listens
  EXPECT_EQ(stored.code, 0) << stored.err;
  EXPECT_EQ(stored.out, "1 of 1 instances sent, 0 were sent before, 1 with a warning\n");
  // Also what was sent before, when nobody minded.
  const Ended refused = send("sent_study", archive.peer(), {"--refuse-warnings"});
  expect_error(refused, 76, {"refused 1 of 1", "0xB000"});
  EXPECT_EQ(refused.out, "");
  EXPECT_EQ(send("sent_study", archive.peer()).out, "0 of 1 instances sent, 1 were sent before\n");
}

}  // namespace
}  // namespace postrec
