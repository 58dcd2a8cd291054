// Peers that break the rules: what they send must neither leave the folder that it belongs to nor pass for what it is not. The peers are DCMTK's own functions with hostile values.
#include <arpa/inet.h>
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "expect_error.hpp"
#include "files.hpp"
#include "pacs_association.hpp"
#include "pacs_instance.hpp"
#include "pacs_ledger.hpp"
#include "pacs_names.hpp"
#include "pacs_retry.hpp"
#include "postrec/data/pacs_get.hpp"
#include "postrec/data/pacs_listen.hpp"
#include "stub_archive.hpp"

namespace {

std::vector<std::string> synced;  // what this process has synced

}  // namespace

/// In the place of the C library's.
extern "C" int fsync(int fd) {
  char name[4096] = {};
  if (readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name - 1) > 0) synced.emplace_back(name);
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace postrec {

namespace fs = std::filesystem;

namespace {

using test::expect_error;

class PacsPeers : public testing::Test {
 protected:
  void SetUp() override { fs::create_directory(folder_ / "here"); }

  /// Everything below the folder of the test, sorted.
  std::set<std::string> files() const {
    std::set<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.is_regular_file()) all.insert(fs::relative(entry.path(), folder_).string());
    return all;
  }

  PacsListenOptions listen_options() const;

  const test::TempFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

/// A function that runs in a process of its own until the end of the scope.
class Process {
 public:
  explicit Process(const std::function<void()>& work) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    _exit(0);
  }
  ~Process() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  bind(socket, reinterpret_cast<sockaddr*>(&address), length);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
  close(socket);
  return ntohs(address.sin_port);
}

int connect_to(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  for (int i = 0; i < 500; ++i) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return socket;
    close(socket);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return -1;
}

PacsPeer peer_at(int port) {
  PacsPeer peer = parse_pacs_peer("PEER@127.0.0.1:" + std::to_string(port));
  peer.answer_seconds = 2;
  return peer;
}

/// Of a listener whose peer is `peer_at` its port.
PacsListenOptions PacsPeers::listen_options() const {
  PacsListenOptions options;
  options.folder = folder_ / "here";
  options.port = free_port();
  options.title = "PEER";
  options.answer_seconds = 2;
  return options;
}

struct Uids {
  std::string command = "1.2.3.4.5", instance = "1.2.3.4.5", series = "1.2.3.4", study = "1.2.3";
};

DcmDataset* new_data_set(const Uids& uids) {
  auto* dataset = new DcmDataset;
  dataset->putAndInsertString(DCM_SOPClassUID, UID_MRImageStorage);
  dataset->putAndInsertString(DCM_SOPInstanceUID, uids.instance.c_str());
  dataset->putAndInsertString(DCM_SeriesInstanceUID, uids.series.c_str());
  dataset->putAndInsertString(DCM_StudyInstanceUID, uids.study.c_str());
  dataset->putAndInsertString(DCM_PatientName, "ZZCANARY^PHI");
  return dataset;
}

/// The status that a C-STORE is answered with; -1 when the association broke.
int store(T_ASC_Association* association, T_ASC_PresentationContextID context, const Uids& uids, const char* sop_class = UID_MRImageStorage) {
  const std::unique_ptr<DcmDataset> dataset(new_data_set(uids));
  T_DIMSE_C_StoreRQ request{};
  request.MessageID = association->nextMsgID++;
  std::strncpy(request.AffectedSOPClassUID, sop_class, sizeof(request.AffectedSOPClassUID) - 1);
  std::strncpy(request.AffectedSOPInstanceUID, uids.command.c_str(), sizeof(request.AffectedSOPInstanceUID) - 1);
  request.DataSetType = DIMSE_DATASET_PRESENT;
  T_DIMSE_C_StoreRSP response{};
  DcmDataset* detail = nullptr;
  const OFCondition condition = DIMSE_storeUser(association, context, &request, nullptr, dataset.get(), nullptr, nullptr, DIMSE_NONBLOCKING, 5, &response, &detail);
  delete detail;
  return condition.good() ? response.DimseStatus : -1;
}

/// The compressed encodings that reading understands.
constexpr const char* kReadEncodings[] = {UID_JPEGProcess14SV1TransferSyntax, UID_JPEGProcess14TransferSyntax, UID_JPEGProcess1TransferSyntax, UID_JPEGProcess2_4TransferSyntax,
                                          UID_JPEGLSLosslessTransferSyntax, UID_JPEGLSLossyTransferSyntax, UID_JPEG2000LosslessOnlyTransferSyntax, UID_JPEG2000TransferSyntax,
                                          UID_RLELosslessTransferSyntax};

TEST_F(PacsPeers, AListenerKeepsInItsFolderWhatIsWhatItSaysItIs) {
  PacsListenOptions options = listen_options();
  options.stable_seconds = 1000;
  const Process listener([&] { listen_for_dicom(options); });
  close(connect_to(options.port));  // it is there

  PacsAssociation association(peer_at(options.port), {{UID_MRImageStorage, {UID_LittleEndianExplicitTransferSyntax}, false}, {UID_CTImageStorage, {UID_LittleEndianExplicitTransferSyntax}, false}});
  const auto mr = *association.context(UID_MRImageStorage);
  const auto answer = [&](const Uids& uids, const char* sop_class = UID_MRImageStorage) {
    association.transport().allow(1 << 20);
    return store(association.get(), mr, uids, sop_class);
  };
  const std::string evil = "../../../../../.." + (folder_ / "evil").string();
  EXPECT_EQ(answer({.command = ".."}), 0xC002);
  EXPECT_EQ(answer({.command = evil.substr(0, 64)}), 0xC002);
  EXPECT_EQ(answer({.command = "1.2.3/4"}), 0xC002);
  EXPECT_EQ(answer({.command = "1..2"}), 0xC002);
  EXPECT_EQ(answer({.command = "..", .instance = ".."}), 0xC002);
  EXPECT_EQ(answer({.instance = "1.2.3.4.6"}), 0xC002) << "the data set is another instance";
  EXPECT_EQ(answer({.series = ".."}), 0xC001);
  EXPECT_EQ(answer({.series = evil}), 0xC001);
  EXPECT_EQ(answer({.series = ""}), 0xC001);
  EXPECT_EQ(answer({.series = std::string(65, '1')}), 0xC001);
  EXPECT_EQ(answer({.study = "../x"}), 0xC001);
  EXPECT_EQ(answer({}, UID_CTImageStorage), 0xA900) << "not what its context is for";
  EXPECT_EQ(files(), std::set<std::string>{"here/.incoming/lock"});

  EXPECT_EQ(answer({}), 0x0000) << "and the association still works";
  const std::string kept = "here/" + series_digest("1.2.3.4") + "/" + instance_digest("1.2.3.4.5") + ".dcm";
  EXPECT_EQ(files(), (std::set<std::string>{"here/.incoming/lock", kept}));
  association.release();

  PacsAssociation implicit(peer_at(options.port), {{UID_MRImageStorage, {UID_LittleEndianImplicitTransferSyntax}, false}});
  for (const auto& [study, status] : {std::pair("1.2.3", 0x0000), std::pair("1.2.9", 0xC003)}) {
    implicit.transport().allow(1 << 20);
    EXPECT_EQ(store(implicit.get(), *implicit.context(UID_MRImageStorage), {.study = study}), status) << "in another encoding, of study " << study;
  }
  implicit.release();
}

// What reading understands must be taken as it is: an archive that does not unpack could send it to nobody.
TEST_F(PacsPeers, AListenerTakesWhatReadingUnderstands) {
  PacsListenOptions options = listen_options();
  const Process listener([&] { listen_for_dicom(options); });
  close(connect_to(options.port));  // it is there
  for (const char* syntax : kReadEncodings) {
    PacsAssociation association(peer_at(options.port), {{UID_MRImageStorage, {syntax}, false}});
    const auto context = association.context(UID_MRImageStorage, syntax);
    ASSERT_TRUE(context.has_value()) << syntax;
    association.transport().allow(1 << 20);
    EXPECT_EQ(store(association.get(), *context, {.command = syntax, .instance = syntax}), 0x0000) << syntax;
    association.release();
  }
}

/// The same values in any encoding, among them a private one, whose VR implicit VR does not tell, and a group length, which depends on the encoding.
void save_encoded(const fs::path& path, E_TransferSyntax syntax, const char* private_text) {
  const std::unique_ptr<DcmDataset> dataset(new_data_set({}));
  dataset->putAndInsertString(DcmTag(0x0029, 0x0010, EVR_LO), "OURS");
  dataset->putAndInsertString(DcmTag(0x0029, 0x1001, EVR_SH), private_text);
  const std::vector<Uint16> pixels = {1, 256, 515, 65535};
  dataset->putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size());
  ASSERT_TRUE(DcmFileFormat(dataset.get()).saveFile(path.c_str(), syntax, EET_UndefinedLength, EGL_withGL).good());
}

TEST_F(PacsPeers, AnEncodingIsNoContent) {
  const fs::path one = folder_ / "one", two = folder_ / "two";
  save_encoded(one, EXS_LittleEndianExplicit, "a");
  for (const E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit, EXS_BigEndianExplicit}) {
    save_encoded(two, syntax, "a");
    EXPECT_TRUE(same_but_for_times(one, two)) << syntax;
    save_encoded(two, syntax, "b");
    EXPECT_FALSE(same_but_for_times(one, two)) << syntax;
  }
}

TEST_F(PacsPeers, AListenerSurvivesGarbageAndSilence) {
  PacsListenOptions options = listen_options();
  options.answer_seconds = 1;
  options.associations = 2;
  const Process listener([&] { listen_for_dicom(options); });
  const std::vector<std::string> openings = {
      "GET / HTTP/1.0\r\n\r\n",
      std::string("\x01\x00\xff\xff\xff\xff", 6),           // an association request of 4 GB
      std::string("\x01\x00\x00\x00\x00\x44\x00\x01", 8),  // one that stops
      std::string("\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03", 12),  // data without an association
      std::string(4096, '\xff'),
  };
  for (const auto& opening : openings) {
    const int socket = connect_to(options.port);
    ASSERT_GE(socket, 0);
    EXPECT_EQ(write(socket, opening.data(), opening.size()), static_cast<ssize_t>(opening.size()));
    shutdown(socket, SHUT_WR);
    char byte;
    while (read(socket, &byte, 1) > 0) {
    }
    close(socket);
  }
  // On a busy machine the listener may not have noticed yet that they are gone.
  std::optional<PacsAssociation> association;
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10); !association;) {
    try {
      association.emplace(peer_at(options.port), std::vector<PacsContext>{{UID_MRImageStorage, {UID_LittleEndianExplicitTransferSyntax}, false}});
    } catch (const Error& error) {
      if (std::chrono::steady_clock::now() > until || error.kind() != ErrorKind::kTemporary) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  association->transport().allow(1 << 20);
  EXPECT_EQ(store(association->get(), *association->context(UID_MRImageStorage), {}), 0x0000);
}

/// What a hostile archive does.
struct Archive {
  std::string found_instance = "1.2.3.4.5";   ///< its answer to the query for instances
  std::string found_bytes = {};               ///< the data set of that answer, when it is to be none that DCMTK would write
  std::string command_bytes = {};             ///< the command of its answer to C-GET, when it is to be none that DCMTK would write
  std::vector<Uids> sends = {};               ///< what it stores when asked to
  bool silent = false;                        ///< instead of an answer to C-GET
  int status = 0;                             ///< its final answer to C-GET
  const char* encoding = UID_LittleEndianExplicitTransferSyntax;  ///< of what it stores
};

/// A sequence in a sequence in ..., in explicit little endian.
std::string nested(int levels) {
  const std::string begin("\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff", 20);
  const std::string end("\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0", 16);
  std::string bytes;
  for (int i = 0; i < levels; ++i) bytes += begin;
  for (int i = 0; i < levels; ++i) bytes += end;
  return bytes;
}

bool send_bytes(T_ASC_Association* association, T_ASC_PresentationContextID id, DUL_DATAPDV kind, std::string bytes) {
  constexpr std::size_t kPiece = 16000;
  for (std::size_t i = 0; i < bytes.size(); i += kPiece) {
    const std::size_t n = std::min(kPiece, bytes.size() - i);
    DUL_PDV pdv{static_cast<unsigned long>(n), id, kind, i + n == bytes.size(), bytes.data() + i};
    DUL_PDVLIST list{1, nullptr, 0, {}, &pdv};
    if (DUL_WritePDVs(&association->DULassociation, &list).bad()) return false;
  }
  return true;
}

/// The command of an answer that a data set follows.
std::string pending_answer(const T_DIMSE_C_FindRQ& request) {
  DcmDataset command;
  command.putAndInsertString(DCM_AffectedSOPClassUID, request.AffectedSOPClassUID);
  for (const auto& [tag, value] : {std::pair<DcmTagKey, int>{DCM_CommandField, DIMSE_C_FIND_RSP}, {DCM_MessageIDBeingRespondedTo, request.MessageID},
                                   {DCM_CommandDataSetType, DIMSE_DATASET_PRESENT}, {DCM_Status, STATUS_Pending}})
    command.putAndInsertUint16(tag, static_cast<Uint16>(value));
  std::string bytes(1024, '\0');
  DcmOutputBufferStream stream(bytes.data(), static_cast<offile_off_t>(bytes.size()));
  command.transferInit();
  command.write(stream, EXS_LittleEndianImplicit, EET_ExplicitLength, nullptr, EGL_withGL);
  void* written = nullptr;
  offile_off_t n = 0;
  stream.flushBuffer(written, n);
  return bytes.substr(0, static_cast<std::size_t>(n));
}

void answer_find(T_ASC_Association* association, T_ASC_PresentationContextID id, T_DIMSE_C_FindRQ& request, const Archive& archive) {
  DcmDataset* keys = nullptr;
  DIMSE_receiveDataSetInMemory(association, DIMSE_NONBLOCKING, 5, &id, &keys, nullptr, nullptr);
  const std::unique_ptr<DcmDataset> owner(keys);
  DcmDataset found;
  found.putAndInsertString(DCM_StudyInstanceUID, "1.2.3");
  found.putAndInsertString(DCM_SeriesInstanceUID, "1.2.3.4");
  found.putAndInsertString(DCM_SOPInstanceUID, archive.found_instance.c_str());
  found.putAndInsertString(DCM_SOPClassUID, UID_MRImageStorage);
  T_DIMSE_C_FindRSP response{};
  response.MessageIDBeingRespondedTo = request.MessageID;
  std::strcpy(response.AffectedSOPClassUID, request.AffectedSOPClassUID);
  response.opts = O_FIND_AFFECTEDSOPCLASSUID;
  response.DimseStatus = STATUS_Pending;
  response.DataSetType = DIMSE_DATASET_PRESENT;
  if (!archive.found_bytes.empty()) {
    if (!send_bytes(association, id, DUL_COMMANDPDV, pending_answer(request)) || !send_bytes(association, id, DUL_DATASETPDV, archive.found_bytes)) return;
  } else {
    DIMSE_sendFindResponse(association, id, &request, &response, &found, nullptr);
  }
  response.DimseStatus = STATUS_Success;
  response.DataSetType = DIMSE_DATASET_NULL;
  DIMSE_sendFindResponse(association, id, &request, &response, nullptr, nullptr);
}

void answer_get(T_ASC_Association* association, T_ASC_PresentationContextID id, T_DIMSE_C_GetRQ& request, const Archive& archive) {
  DcmDataset* keys = nullptr;
  T_ASC_PresentationContextID data_id = 0;
  DIMSE_receiveDataSetInMemory(association, DIMSE_NONBLOCKING, 5, &data_id, &keys, nullptr, nullptr);
  delete keys;
  for (const auto& uids : archive.sends) store(association, ASC_findAcceptedPresentationContextID(association, UID_MRImageStorage), uids);
  if (!archive.command_bytes.empty() && !send_bytes(association, id, DUL_COMMANDPDV, archive.command_bytes)) return;
  if (archive.silent) std::this_thread::sleep_for(std::chrono::seconds(30));
  T_DIMSE_C_GetRSP response{};
  response.MessageIDBeingRespondedTo = request.MessageID;
  response.DimseStatus = static_cast<DIC_US>(archive.status);
  response.DataSetType = DIMSE_DATASET_NULL;
  DIMSE_sendGetResponse(association, id, &request, &response, nullptr, nullptr);
}

void serve(int port, const Archive& archive) {
  const auto accept = [&](T_ASC_Parameters* params) {
    const char* queries[] = {UID_FINDStudyRootQueryRetrieveInformationModel, UID_GETStudyRootQueryRetrieveInformationModel};
    const char* objects[] = {UID_MRImageStorage};
    const char* syntaxes[] = {UID_LittleEndianExplicitTransferSyntax};
    const char* encodings[] = {archive.encoding};
    ASC_acceptContextsWithPreferredTransferSyntaxes(params, queries, 2, syntaxes, 1);
    ASC_acceptContextsWithPreferredTransferSyntaxes(params, objects, 1, encodings, 1, ASC_SC_ROLE_SCP);
  };
  test::serve_associations(port, accept, [&](T_ASC_Association* association, T_ASC_PresentationContextID id, T_DIMSE_Message& message) {
    if (message.CommandField == DIMSE_C_FIND_RQ) answer_find(association, id, message.msg.CFindRQ, archive);
    if (message.CommandField == DIMSE_C_GET_RQ) answer_get(association, id, message.msg.CGetRQ, archive);
  });
}

class HostileArchive : public PacsPeers {
 protected:
  PacsGetReport get(const Archive& archive, bool resume = false) {
    const int port = free_port();
    const Process process([&] { serve(port, archive); });
    PacsGetOptions options;
    options.retry = {1, 0.02, 0.02};
    options.resume = resume;
    close(connect_to(port));  // it is there
    return get_from_pacs({.study_uid = "1.2.3", .series_uid = "", .accession = ""}, peer_at(port), folder_ / "here" / "out", options);
  }
};

TEST_F(HostileArchive, AnHonestOneIsUnderstood) {
  const PacsGetReport report = get({.sends = {{}}});
  EXPECT_EQ(report.instances, 1u);
  EXPECT_EQ(files(), std::set<std::string>{"here/out/" + series_digest("1.2.3.4") + "/" + instance_digest("1.2.3.4.5") + ".dcm"});
}

TEST_F(HostileArchive, WhatItHasInAnEncodingThatIsReadIsFetched) {
  for (const char* encoding : kReadEncodings) {
    EXPECT_EQ(get({.sends = {{}}, .encoding = encoding}).fetched, 1u) << encoding;
    fs::remove_all(folder_ / "here" / "out");
  }
}

// What was acknowledged outlives a crash of the machine only when its bytes, its name and the name of its folder are on the disk.
TEST_F(HostileArchive, AnInstanceIsSyncedWithItsFolders) {
  synced.clear();
  get({.sends = {{}}});
  const std::string folder = (folder_ / "here" / "out.partial").string(), series = folder + "/" + series_digest("1.2.3.4");
  const auto has = [](const std::string& path) { return std::any_of(synced.begin(), synced.end(), [&](const std::string& each) { return each == path; }); };
  EXPECT_TRUE(has(series));
  EXPECT_TRUE(has(folder));
  EXPECT_TRUE(std::any_of(synced.begin(), synced.end(), [&](const std::string& each) { return each.rfind(folder + "/.incoming/", 0) == 0; })) << "the file";
}

/// Files of this process can have so many bytes at most, as long as this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

// An instance without room is an error at once, neither silence nor half a file, and fetched when there is some.
TEST_F(HostileArchive, AFullDisk) {
  for (const rlim_t bytes : {100, 400}) {  // within the meta header, and in the data set, which comes in one piece
    const FileSizeLimit limit(bytes);
    expect_error(ErrorKind::kInputOutput, "the disk is full or failed", [&] { get({.sends = {{}}}, true); });
    EXPECT_TRUE(files().empty());
  }
  EXPECT_EQ(get({.sends = {{}}}, true).fetched, 1u);
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(HostileArchive, AUidThatIsNoneIsNotUsed) {
  expect_error(ErrorKind::kPacs, "that is no UID", [&] { get({.found_instance = "../../evil"}); });
  EXPECT_TRUE(files().empty());
}

// DCMTK calls itself for each level: that ends a child process, not us.
TEST_F(HostileArchive, AnAnswerThatIsNestedWithoutEnd) {
  expect_error(ErrorKind::kPacs, "answered a query with what cannot be read", [&] { get({.found_bytes = nested(100000)}); });
  EXPECT_TRUE(files().empty());
}

// A command is read by ourselves, so it must be too short for that.
TEST_F(HostileArchive, ACommandThatIsNestedWithoutEnd) {
  std::string bytes;
  for (int i = 0; i < 60000; ++i) bytes += std::string("\x08\x00\x40\x11\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff", 16);
  expect_error(ErrorKind::kPacs, "more than the limit allows", [&] { get({.command_bytes = bytes}); });
}

TEST_F(HostileArchive, AnAnswerWithoutMeasure) {
  expect_error(ErrorKind::kPacs, "more than the limit allows", [&] { get({.found_bytes = std::string("\x08\0\x40\0OB\0\0\0\0\0\1", 12) + std::string(std::size_t{1} << 24, '\0')}); });
  EXPECT_TRUE(files().empty());
}

TEST_F(HostileArchive, WhatWasNotAskedForIsNotKept) {
  const Uids other{"1.2.9", "1.2.9", "1.2.3.4", "1.2.3"}, elsewhere{"1.2.3.4.5", "1.2.3.4.5", "1.2.8", "1.2.3"}, evil{"../../evil", "1.2.3.4.5", "1.2.3.4", "1.2.3"};
  expect_error(ErrorKind::kPacs, "0 of 1 instances arrived", [&] { get({.sends = {other, elsewhere, evil}}); });
  EXPECT_TRUE(files().empty());
}

TEST_F(HostileArchive, SuccessWithoutAnInstanceIsNoSuccess) {
  expect_error(ErrorKind::kPacs, "0 of 1 instances arrived", [&] { get({}); });
  EXPECT_FALSE(fs::exists(folder_ / "here" / "out"));
}

TEST_F(HostileArchive, ARefusalIsNotTriedAgainAndNamed) {
  try {
    get({.status = 0xA900});
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), ErrorKind::kPacs);
    EXPECT_NE(text.find("0xA900"), std::string::npos) << text;
    EXPECT_EQ(text.find("tried"), std::string::npos) << text;
  }
}

TEST_F(HostileArchive, SilenceEnds) {
  expect_error(ErrorKind::kPacs, "did not answer within 2 s", [&] { get({.silent = true}); });
}

TEST(PacsNames, AnAddressHasATitleAHostAndAPort) {
  const PacsPeer peer = parse_pacs_peer("MY ARCHIVE@pacs-1.example.org:104");
  EXPECT_EQ(peer.called_title, "MY ARCHIVE");
  EXPECT_EQ(peer.host, "pacs-1.example.org");
  EXPECT_EQ(peer.port, 104);
  for (const char* bad : {"", "A", "A@h", "h:1", "@h:1", "A@:1", "A@h:", "A@h:0", "A@h:65536", "A@h:1x", "A@h/x:1", "A@h h:1", "SEVENTEEN_LETTERS@h:1", "A\\B@h:1", " A@h:1", "A\n@h:1"})
    expect_error(ErrorKind::kUsage, "", [&] { parse_pacs_peer(bad); });
  EXPECT_THROW(parse_pacs_peer("A@" + std::string(101, 'h') + ":1"), Error) << "DCMTK has room for 127 letters";
}

TEST_F(PacsPeers, AFileThatCannotBeReadIsAnErrorWithoutItsName) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody who may not read";
  fs::create_directories(folder_ / "here" / "ZZCANARY");
  std::ofstream(folder_ / "here" / "ZZCANARY" / "a") << "no DICOM";
  fs::permissions(folder_, fs::perms::all);
  const auto as_nobody = [&](const std::string& expected) {
    const pid_t child = fork();
    if (child == 0) {
      if (setresuid(65534, 65534, 65534) != 0) _exit(2);
      try {
        dicom_files_below(folder_ / "here");
      } catch (const Error& error) {
        const std::string text = error.what();
        _exit(error.kind() == ErrorKind::kNoInput && text.find(expected) != std::string::npos && text.find("ZZCANARY") == std::string::npos ? 0 : 1);
      }
      _exit(3);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
  };
  fs::permissions(folder_ / "here" / "ZZCANARY" / "a", fs::perms::none);
  EXPECT_EQ(as_nobody("file number 1"), 0);
  fs::permissions(folder_ / "here" / "ZZCANARY", fs::perms::owner_all);
  EXPECT_EQ(as_nobody("a folder below"), 0);
}

TEST_F(PacsPeers, ALedgerKnowsPeerInstanceAndContent) {
  const fs::path path = folder_ / "ledger";
  {
    PacsLedger ledger(path, "A@h:1");
    ledger.add("i1", "f1", 0);
    expect_error(ErrorKind::kTemporary, "is in use", [&] { PacsLedger(path, "A@h:1"); });
  }
  std::ofstream(path, std::ios::app) << "{\"peer\":\"A@h:1\",\"inst";  // a crash
  {
    PacsLedger ledger(path, "A@h:1");
    EXPECT_TRUE(ledger.has("i1", "f1"));
    EXPECT_FALSE(ledger.has("i1", "f2")) << "another content";
    ledger.add("i2", "f2", 0xB000);
  }
  EXPECT_TRUE(PacsLedger(path, "A@h:1").has("i2", "f2")) << "written behind what the crash left";
  EXPECT_FALSE(PacsLedger(path, "A@h:1", /*accept_warnings=*/false).has("i2", "f2")) << "a warning is refused now";
  EXPECT_TRUE(PacsLedger(path, "A@h:1", /*accept_warnings=*/false).has("i1", "f1"));
  std::ofstream(path, std::ios::app) << "{\"pe";  // another, after a few bytes
  for (int run = 0; run < 2; ++run) EXPECT_TRUE(PacsLedger(path, "A@h:1").has("i2", "f2"));
  EXPECT_FALSE(PacsLedger(path, "B@h:1").has("i1", "f1")) << "another archive";
  std::ofstream(folder_ / "other") << "{}\n";
  expect_error(ErrorKind::kBadData, "line 1", [&] { PacsLedger(folder_ / "other", "A@h:1"); });
}

TEST(PacsBackoff, WaitsLongerEachTimeUntilItGivesUp) {
  std::vector<double> waits;
  PacsHooks hooks;
  hooks.say = [&](const std::string& text) { waits.push_back(std::stod(text.substr(text.rfind(" in ") + 4))); };
  const PacsRetry retry{4, 0.2, 0.5};
  PacsBackoff backoff(retry, hooks);
  const Error busy(ErrorKind::kTemporary, "busy");
  for (int i = 0; i < 4; ++i) backoff.wait_after(busy);
  ASSERT_EQ(waits.size(), 4u);
  const double longest[] = {0.2, 0.4, 0.5, 0.5};
  for (int i = 0; i < 4; ++i) {
    EXPECT_LE(waits[i], longest[i] + 0.051) << i;  // said with one digit
    EXPECT_GE(waits[i], longest[i] / 2 - 0.051) << i;
  }
  expect_error(ErrorKind::kPacs, "tried 5 times", [&] { backoff.wait_after(busy); });
  backoff.progress();
  backoff.wait_after(busy);
  EXPECT_LE(waits.back(), 0.251) << "progress begins anew";
  expect_error(ErrorKind::kBadData, "wrong", [&] { backoff.wait_after(Error(ErrorKind::kBadData, "wrong")); });
  hooks.interrupted = [] { return true; };
  expect_error(ErrorKind::kInterrupted, "interrupted", [&] { backoff.wait_after(busy); });
}

}  // namespace
}  // namespace postrec
