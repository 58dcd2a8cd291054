#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/dimse.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "pacs_instance.hpp"
#include "pacs_transport.hpp"

namespace postrec {

/// Takes instances that a peer stores, into folder/SERIES/INSTANCE.dcm (digests of UIDs), whole and synced before they are acknowledged.
class PacsReception {
 public:
  enum class Outcome { kStored, kKnown, kRefused, kNoRoom };

  /// `instance_bytes`: the largest data set that is taken. Throws Error when folder/.incoming cannot be made: kCannotCreate, kInputOutput (disk full).
  PacsReception(std::filesystem::path folder, std::uint64_t instance_bytes);

  /// Whether an instance is wanted; without it all are.
  std::function<bool(const InstanceHeader&)> wanted;
  /// Told the digest of a series before an instance gets its name there, and afterwards.
  std::function<void(const std::string& series)> changes;
  /// Told when an instance could not be kept because the disk is full or failed.
  std::function<void()> no_room;

  /// Receives the data set that follows `request` to its end, whether or not it can be kept, and answers it. Returns what became of the association; `outcome` says what became of the
  /// instance. One without room is answered with 0xA700, which asks the peer to try again.
  OFCondition receive(T_ASC_Association* association, PacsTransport& transport, T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ& request, int timeout, Outcome& outcome);

  static constexpr const char* kIncoming = ".incoming";

 private:
  OFCondition refuse(T_ASC_Association* association, T_ASC_PresentationContextID context, const T_DIMSE_C_StoreRQ& request, int timeout, unsigned short status);
  unsigned short keep(const std::filesystem::path& temporary, const T_DIMSE_C_StoreRQ& request, Outcome& outcome);

  std::filesystem::path folder_;
  std::uint64_t instance_bytes_;
  std::uint64_t counter_ = 0;
  std::set<std::string> synced_;               ///< series whose folders are on the disk
};

}  // namespace postrec
