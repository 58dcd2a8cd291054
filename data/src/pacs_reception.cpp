#include "pacs_reception.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>

#include "descriptor.hpp"
#include "dicom_uid.hpp"
#include "pacs_arrival.hpp"
#include "pacs_names.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/pacs_listen.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

// Statuses of C-STORE [PS3.4, table B.2-1]; the class 0xCxxx is "cannot understand", its low digits are ours.
constexpr unsigned short kStored = 0x0000, kOutOfResources = 0xA700, kWrongClass = 0xA900, kDamaged = 0xC001, kBadUid = 0xC002, kOtherContent = 0xC003,
                         kUnwanted = 0xC004;

constexpr std::uint64_t kCommandBytes = 1 << 20;

bool context_of(const T_ASC_Association* association, T_ASC_PresentationContextID id, const char* sop_class, T_ASC_PresentationContext& context) {
  return ASC_findAcceptedPresentationContext(association->params, id, &context).good() && std::strcmp(context.abstractSyntax, sop_class) == 0;
}

OFCondition answer(T_ASC_Association* association, T_ASC_PresentationContextID context, const T_DIMSE_C_StoreRQ& request, unsigned short status) {
  T_DIMSE_C_StoreRSP response{};
  response.DimseStatus = status;
  response.MessageIDBeingRespondedTo = request.MessageID;
  response.DataSetType = DIMSE_DATASET_NULL;
  return DIMSE_sendStoreResponse(association, context, &request, &response, nullptr);
}

}  // namespace

PacsReception::PacsReception(fs::path folder, std::uint64_t instance_bytes) : folder_(std::move(folder)), instance_bytes_(instance_bytes) {
  std::error_code failure;
  fs::create_directories(folder_ / kIncoming, failure);
  if (failure) throw Error(write_error_kind(failure.value()), quoted_path(folder_) + " cannot be created: " + failure.message(), "give a folder that you may write to");
}

OFCondition PacsReception::refuse(T_ASC_Association* association, T_ASC_PresentationContextID context, const T_DIMSE_C_StoreRQ& request, int timeout,
                                  unsigned short status) {
  DIC_UL bytes = 0, pieces = 0;
  const OFCondition ignored = DIMSE_ignoreDataSet(association, DIMSE_NONBLOCKING, timeout, &bytes, &pieces);
  return ignored.bad() ? ignored : answer(association, context, request, status);
}

OFCondition PacsReception::receive(T_ASC_Association* association, PacsTransport& transport, T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ& request, int timeout,
                                   Outcome& outcome) {
  outcome = Outcome::kRefused;
  transport.allow(instance_bytes_ + kCommandBytes);
  T_ASC_PresentationContext context{};
  if (!valid_uid(request.AffectedSOPInstanceUID) || !valid_uid(request.AffectedSOPClassUID)) return refuse(association, id, request, timeout, kBadUid);
  if (!context_of(association, id, request.AffectedSOPClassUID, context)) return refuse(association, id, request, timeout, kWrongClass);
  PacsArrival arrival(folder_ / kIncoming / (std::to_string(::getpid()) + "-" + std::to_string(counter_++) + ".part"), request, *association, context);
  T_ASC_PresentationContextID id_of_data = 0;
  const OFCondition received = DIMSE_receiveDataSetInFile(association, DIMSE_NONBLOCKING, timeout, &id_of_data, &arrival, nullptr, nullptr);
  transport.allow(kCommandBytes);
  if (received.bad()) return received;
  if (id_of_data != id) return makeDcmnetCondition(DIMSEC_INVALIDPRESENTATIONCONTEXTID, OF_error, "a data set in another context than its command");
  unsigned short status = kOutOfResources;
  try {  // whatever fails here, the peer is waiting for an answer
    if (arrival.sync()) status = keep(arrival.path(), request, outcome);
  } catch (const std::exception&) {
  }
  if (status == kOutOfResources) {
    outcome = Outcome::kNoRoom;
    if (no_room) no_room();
  }
  return answer(association, id, request, status);
}

unsigned short PacsReception::keep(const fs::path& temporary, const T_DIMSE_C_StoreRQ& request, Outcome& outcome) {
  const InstanceHeader header = read_instance_headers({temporary}).front();
  if (!header.usable) return kDamaged;
  if (std::strcmp(header.sop_instance, request.AffectedSOPInstanceUID) != 0 || std::strcmp(header.sop_class, request.AffectedSOPClassUID) != 0) return kBadUid;
  if (wanted && !wanted(header)) return kUnwanted;

  const std::string series = series_digest(header.series);
  if (::mkdir((folder_ / series).c_str(), 0777) != 0 && errno != EEXIST) return kOutOfResources;
  // A crash could take a new folder, and with it what was acknowledged; another process may have made it and not synced it yet.
  if (synced_.count(series) == 0 && !Descriptor(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)).sync()) return kOutOfResources;
  synced_.insert(series);
  const Descriptor target(::open((folder_ / series).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (target.get() < 0) return kOutOfResources;
  const std::string name = instance_digest(header.sop_instance) + ".dcm";
  const auto rename_into_series = [&] {
    if (::renameat2(AT_FDCWD, temporary.c_str(), target.get(), name.c_str(), RENAME_NOREPLACE) == 0) return true;
    // NFS knows no such flag.
    return errno == EINVAL && ::linkat(AT_FDCWD, temporary.c_str(), target.get(), name.c_str(), 0) == 0;
  };
  if (::faccessat(target.get(), name.c_str(), F_OK, 0) != 0) {
    if (changes) changes(series);
    if (rename_into_series()) {
      ::unlinkat(target.get(), kCompleteMarker, 0);  // it was complete without this one
      if (changes) changes(series);
      if (!target.sync()) return kOutOfResources;
      outcome = Outcome::kStored;
      return kStored;
    }
    if (errno != EEXIST) return kOutOfResources;
  }
  const fs::path known = folder_ / series / name;
  if (data_set_sha256(temporary) != data_set_sha256(known) && !same_but_for_times(temporary, known)) return kOtherContent;
  outcome = Outcome::kKnown;
  return kStored;
}

}  // namespace postrec
