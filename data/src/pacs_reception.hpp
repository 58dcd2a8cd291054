#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/dimse.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "pacs_instance.hpp"
#include "pacs_transport.hpp"

namespace postrec {

/// Takes instances that a peer stores, into folder/SERIES/INSTANCE.dcm (digests of UIDs), whole and synced before they are acknowledged.
class PacsReception {
 public:
  enum class Outcome { kStored, kKnown, kRefused, kNoRoom };

  /// `instance_bytes`: the largest data set that is taken. Throws Error(kCannotCreate) when folder/.incoming cannot be made.
  PacsReception(std::filesystem::path folder, std::uint64_t instance_bytes);

  /// Whether an instance is wanted; without it all are.
  std::function<bool(const InstanceHeader&)> wanted;
  /// Told the digest of a series before an instance gets its name there, and afterwards.
  std::function<void(const std::string& series)> changes;

  /// Receives the data set that follows `request` and answers it. Returns what became of the association; `outcome` says what became of the instance.
  OFCondition receive(T_ASC_Association* association, PacsTransport& transport, T_ASC_PresentationContextID context, T_DIMSE_C_StoreRQ& request, int timeout,
                      Outcome& outcome);

  static constexpr const char* kIncoming = ".incoming";

 private:
  struct Arrival;
  OFCondition refuse(T_ASC_Association* association, T_ASC_PresentationContextID context, const T_DIMSE_C_StoreRQ& request, int timeout, unsigned short status);
  unsigned short keep(const std::filesystem::path& temporary, const T_DIMSE_C_StoreRQ& request, Outcome& outcome);
  static void on_progress(void* arrival, T_DIMSE_StoreProgress* progress, T_DIMSE_C_StoreRQ* request, char* file, DcmDataset** dataset, T_DIMSE_C_StoreRSP* response,
                          DcmDataset** detail);

  std::filesystem::path folder_;
  std::uint64_t instance_bytes_;
  std::uint64_t counter_ = 0;
};

}  // namespace postrec
