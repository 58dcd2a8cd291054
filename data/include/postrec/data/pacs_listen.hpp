#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/data/pacs_peer.hpp"

namespace postrec {

struct PacsListenOptions {
  std::filesystem::path folder;
  std::string bind_address = "127.0.0.1";  ///< IPv4; 0.0.0.0 for every interface
  int port = 11112;                        ///< 0: any free one
  std::string title = "POSTREC";           ///< callers must call us so
  std::vector<std::string> callers;        ///< titles that may call; empty: all
  PacsTls tls;
  int answer_seconds = 30;    ///< longest silence of a caller
  double stable_seconds = 30; ///< a series to which nothing was added for so long is complete
  int associations = 8;       ///< at the same time; further ones are told to try again
  std::uint64_t instance_bytes = std::uint64_t{2} << 30;
  PacsHooks hooks;
};

/// The file beside the instances of a series that stopped growing.
inline constexpr const char* kCompleteMarker = "complete";

/// Whether a folder is one that a listener fills.
bool is_pacs_inbox(const std::filesystem::path& folder);

/// Whether a series folder of an inbox has its marker, and holds the instances of which that tells and no other.
bool is_complete_series(const std::filesystem::path& folder);

/// Takes what is sent with C-STORE (and answers C-ECHO) until hooks.interrupted() is true; then lets each caller end the instance that it is at, and returns.
///
/// An instance becomes folder/SERIES/INSTANCE.dcm, named by digests of the UIDs, whole and synced before it is acknowledged. The first copy of an instance stays: another copy with the same
/// data set is acknowledged, one with other data is refused. SERIES/complete (JSON: number of instances and their digest) appears when nothing came for `stable_seconds`, and goes when
/// something does. What is on its way lies in folder/.incoming.
/// Each association has a process of its own with limited memory: a caller that crashes it loses its association and nothing else.
/// Throws Error: kUsage, kCannotCreate (folder), kUnavailable (the address cannot be bound), kTemporary (another one listens into this folder).
void listen_for_dicom(const PacsListenOptions& options);

}  // namespace postrec
