#pragma once

#include <cstddef>
#include <filesystem>

#include "postrec/data/pacs_peer.hpp"

namespace postrec {

struct PacsSendOptions {
  std::filesystem::path ledger;  ///< JSON lines: what arrived where
  PacsRetry retry;
  bool accept_warnings = true;   ///< statuses of the class "warning" (the PACS stored the instance, and changed it or doubts it) count as sent
  bool verify = false;           ///< ask the PACS afterwards what it has (C-FIND)
  PacsHooks hooks;
};

struct PacsSendReport {
  std::size_t instances = 0;     ///< distinct ones in the folder
  std::size_t sent = 0;          ///< now
  std::size_t known = 0;         ///< the ledger knew that they had arrived
  std::size_t warnings = 0;      ///< of `sent`, those with a warning
  bool verified = false;
};

/// Sends every DICOM instance below `folder` with C-STORE. Sent is what was answered with status 0 (or a warning), and is then in the ledger, named by SHA-256 of its SOPInstanceUID
/// and of its file: a second call, also after a kill, sends the rest. An instance that arrived without our knowing is sent again, which DICOM makes harmless. One on which the connection
/// is lost comes last, and after `retry.retries` losses (2 at least) it counts as refused, so that it does not hold up the others.
/// Throws Error: kNoInput (no DICOM file), kBadData (damaged files, one SOPInstanceUID with two contents), kPacs (refused, unreachable; what arrived stays in the ledger),
/// kTemporary (the ledger is in use), kInterrupted.
PacsSendReport send_to_pacs(const std::filesystem::path& folder, const PacsPeer& peer, const PacsSendOptions& options);

}  // namespace postrec
