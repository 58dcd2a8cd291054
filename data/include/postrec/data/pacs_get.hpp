#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "postrec/data/pacs_peer.hpp"

namespace postrec {

/// What is wanted: the series that match every key that is not empty. At least one key.
struct PacsQuery {
  std::string study_uid;
  std::string series_uid;
  std::string accession;  ///< patient data: it stands in no message
};

/// Lines `study = UID`, `series = UID`, `accession = NUMBER`, `#` comments. Throws Error(kNoInput, kBadData).
PacsQuery read_pacs_query(const std::filesystem::path& file);

/// Throws Error(kUsage) when nothing is asked for, or a key is not a UID or an accession number (wildcards are none); the value is not in the message.
void check_pacs_query(const PacsQuery& query);

struct PacsGetOptions {
  PacsRetry retry;
  bool resume = false;                                          ///< go on with `output`.partial
  std::uint64_t instance_bytes = std::uint64_t{2} << 30;        ///< largest instance that is taken
  PacsHooks hooks;
};

struct PacsGetReport {
  std::size_t series = 0;
  std::size_t instances = 0;
  std::size_t fetched = 0;  ///< now; the others were there from an earlier call
};

/// Asks with C-FIND which series match and which instances they have, fetches them with C-GET into `output`.partial/SERIES/INSTANCE.dcm and renames the folder to `output` when every
/// one is there. SERIES and INSTANCE are SHA-256 digests of the UIDs; nothing that the PACS says becomes part of a path.
/// Throws Error: kCannotCreate (output exists), kNoInput (nothing matches), kPacs (refused, unreachable, incomplete; `resume` fetches what is missing), kInterrupted.
PacsGetReport get_from_pacs(const PacsQuery& query, const PacsPeer& peer, const std::filesystem::path& output, const PacsGetOptions& options);

}  // namespace postrec
