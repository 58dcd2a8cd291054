#include "postrec/data/pacs_send.hpp"

#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "pacs_association.hpp"
#include "pacs_find.hpp"
#include "pacs_instance.hpp"
#include "pacs_ledger.hpp"
#include "pacs_names.hpp"
#include "pacs_retry.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/sha256.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

struct Item {
  std::size_t number;  ///< in the order of file names, from 1: what messages call it, since names hold patients' names
  fs::path file;
  InstanceHeader header;
  std::string instance;
  std::string file_sha256;
  std::string refusal;  ///< why it will never be taken
  bool sent = false;
  int losses = 0;       ///< of the connection, while it was sent

  bool pending() const { return !sent && refusal.empty(); }
};

std::string numbers(const std::vector<std::size_t>& all) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(all.size(), kShown); ++i) text += (i ? ", " : "") + std::to_string(all[i]);
  return text + (all.size() > kShown ? ", ..." : "");
}

/// The distinct instances of a folder. A copy of one is left out; damaged files and copies with another content are errors before anything is sent.
std::vector<Item> items_of(const fs::path& folder) {
  const auto files = dicom_files_below(folder);
  if (files.empty()) throw Error(ErrorKind::kNoInput, quoted_path(folder) + " holds no DICOM file", "give the folder that holds the files to send");
  const auto headers = read_instance_headers(files);
  std::vector<Item> items;
  std::vector<std::size_t> damaged, doubled;
  std::map<std::string, std::size_t> first;  // instance -> its place among the items
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (!headers[i].usable) {
      damaged.push_back(i + 1);
      continue;
    }
    const std::string instance = instance_digest(headers[i].sop_instance);
    const std::string digest = sha256_file(files[i]);
    const auto [known, is_new] = first.emplace(instance, items.size());
    if (is_new)
      items.push_back({i + 1, files[i], headers[i], instance, digest, {}, false, 0});
    else if (const Item& other = items[known->second]; other.file_sha256 != digest && !same_but_for_times(other.file, files[i]))
      doubled.push_back(i + 1);
  }
  if (!damaged.empty())
    throw Error(ErrorKind::kBadData, std::to_string(damaged.size()) + " DICOM file(s) of " + quoted_path(folder) + " are damaged or have no valid UIDs: numbers " + numbers(damaged) +
                " in the order of names", "nothing was sent; repair or remove them");
  if (!doubled.empty())
    throw Error(ErrorKind::kBadData, std::to_string(doubled.size()) + " file(s) of " + quoted_path(folder) + " have the SOPInstanceUID of another file with another content: numbers " +
                numbers(doubled) + " in the order of names", "nothing was sent; each instance needs its own UID");
  return items;
}

bool is_native(const std::string& syntax) { return !DcmXfer(syntax.c_str()).isEncapsulated(); }

/// One context for each kind of object and encoding: uncompressed ones can be sent either way, compressed ones as they are. At most 128 fit into an association; the rest waits for the next.
std::vector<PacsContext> contexts_of(const std::vector<Item*>& items) {
  constexpr std::size_t kMost = 128;
  std::set<std::pair<std::string, std::string>> seen;
  std::vector<PacsContext> contexts;
  for (const Item* item : items) {
    const bool native = is_native(item->header.transfer_syntax);
    if (contexts.size() < kMost && seen.emplace(item->header.sop_class, native ? "" : item->header.transfer_syntax).second)
      contexts.push_back({item->header.sop_class, native ? native_syntaxes() : std::vector<std::string>{item->header.transfer_syntax}, false});
  }
  return contexts;
}

class Sender {
 public:
  Sender(const PacsPeer& peer, const PacsSendOptions& options, PacsLedger& ledger, PacsSendReport& report)
      : peer_(peer), options_(options), ledger_(ledger), report_(report), backoff_(options.retry, options.hooks) {}

  void send_all(std::vector<Item>& items) {
    for (;;) {
      std::vector<Item*> pending;
      for (Item& item : items)
        if (item.pending()) pending.push_back(&item);
      if (pending.empty()) return;
      put_stumbling_blocks_last(pending);
      try {
        send_pass(pending);
      } catch (const Error& failure) {
        backoff_.wait_after(failure);
      }
    }
  }

 private:
  /// An item on which the peer stumbled comes behind the others, so that it does not hold them up. After losses in a row the others begin elsewhere: those on which
  /// an archive stumbles are often neighbours, and would use up every try.
  void put_stumbling_blocks_last(std::vector<Item*>& pending) const {
    constexpr double kGoldenRatio = 0.618;  // spreads any number of beginnings over the folder
    const auto end = std::stable_partition(pending.begin(), pending.end(), [](const Item* item) { return item->losses == 0; });
    const double turns = kGoldenRatio * losses_in_a_row_;
    std::rotate(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>((turns - std::floor(turns)) * static_cast<double>(end - pending.begin())), end);
  }

  /// One association, to its end or its loss. What the peer has no room for now stays pending, and is the failure of the pass.
  void send_pass(const std::vector<Item*>& pending) {
    require_not_interrupted(options_.hooks);
    const auto contexts = contexts_of(pending);
    PacsAssociation association(peer_, contexts);
    std::optional<Error> busy;
    for (Item* item : pending) {
      require_not_interrupted(options_.hooks);
      if (!is_offered(contexts, *item)) continue;
      try {
        const unsigned status = store(association, *item);
        if (is_temporary_status(status)) busy = Error(ErrorKind::kTemporary, peer_.name() + " could not take an instance now (status " + hexadecimal(status) + ")", "is its disk full?");
      } catch (const Error& failure) {
        if (failure.kind() != ErrorKind::kTemporary) throw;
        return lose(*item, failure);
      }
    }
    ledger_.sync();
    association.release();
    if (busy) throw *busy;
  }

  /// The peer may be gone, which is the failure of the pass, or stumble over this very item: lost again and again, it is given up.
  void lose(Item& item, const Error& failure) {
    ++losses_in_a_row_;
    if (++item.losses < std::max(2, options_.retry.retries))
      throw Error(failure.kind(), failure.message() + " at file number " + std::to_string(item.number) + " in the order of names", failure.hint());
    item.refusal = "the connection was lost on it";
    backoff_.progress();
    ledger_.sync();
  }

  static bool is_offered(const std::vector<PacsContext>& contexts, const Item& item) {
    return std::any_of(contexts.begin(), contexts.end(), [&](const PacsContext& context) {
      const auto& syntaxes = context.transfer_syntaxes;
      return context.abstract_syntax == item.header.sop_class &&
             (is_native(item.header.transfer_syntax) ? syntaxes == native_syntaxes() : syntaxes.front() == item.header.transfer_syntax);
    });
  }

  static std::optional<T_ASC_PresentationContextID> context_of(const PacsAssociation& association, const InstanceHeader& header) {
    if (!is_native(header.transfer_syntax)) return association.context(header.sop_class, header.transfer_syntax);
    for (const auto& syntax : native_syntaxes())
      if (const auto context = association.context(header.sop_class, syntax)) return context;
    return std::nullopt;
  }

  /// The status that the peer answered; what it means for the item is in the item.
  unsigned store(PacsAssociation& association, Item& item) {
    const auto context = context_of(association, item.header);
    if (!context) {
      item.refusal = "it does not take objects of this kind or encoding";
      return 0;
    }
    DcmFileFormat file;
    if (file.loadFile(item.file.c_str()).bad()) throw Error(ErrorKind::kInputOutput, "file number " + std::to_string(item.number) + " can no longer be read", "was it changed meanwhile?");
    T_DIMSE_C_StoreRQ request{};
    request.MessageID = association.get()->nextMsgID++;
    std::strncpy(request.AffectedSOPClassUID, item.header.sop_class, sizeof(request.AffectedSOPClassUID) - 1);
    std::strncpy(request.AffectedSOPInstanceUID, item.header.sop_instance, sizeof(request.AffectedSOPInstanceUID) - 1);
    request.DataSetType = DIMSE_DATASET_PRESENT;
    request.Priority = DIMSE_PRIORITY_MEDIUM;
    T_DIMSE_C_StoreRSP response{};
    DcmDataset* detail = nullptr;
    association.transport().allow(kCommandAnswerBytes);
    const OFCondition condition = DIMSE_storeUser(association.get(), *context, &request, nullptr, file.getDataset(), nullptr, nullptr, DIMSE_NONBLOCKING, association.timeout(),
                                                  &response, &detail);
    delete detail;
    association.require_good(condition);
    settle(item, response.DimseStatus);
    return response.DimseStatus;
  }

  void settle(Item& item, unsigned status) {
    const bool warning = is_warning_status(status);
    if (status == 0 || (warning && options_.accept_warnings)) {
      ledger_.add(item.instance, item.file_sha256, status);
      item.sent = true;
      losses_in_a_row_ = 0;
      ++report_.sent;
      report_.warnings += warning;
      backoff_.progress();
    } else if (!is_temporary_status(status)) {
      item.refusal = "status " + hexadecimal(status);
    }
  }

  const PacsPeer& peer_;
  const PacsSendOptions& options_;
  PacsLedger& ledger_;
  PacsSendReport& report_;
  PacsBackoff backoff_;
  int losses_in_a_row_ = 0;
};

void require_all_taken(const std::vector<Item>& items, const PacsPeer& peer) {
  std::vector<std::size_t> refused;
  std::string reason;
  for (const Item& item : items)
    if (!item.refusal.empty()) {
      refused.push_back(item.number);
      if (reason.find(item.refusal) == std::string::npos) reason += (reason.empty() ? "" : ", ") + item.refusal;
    }
  if (!refused.empty())
    throw Error(ErrorKind::kPacs, peer.name() + " refused " + std::to_string(refused.size()) + " of " + std::to_string(items.size()) + " instances (" + reason + "): numbers " +
                numbers(refused) + " in the order of names", "the others arrived; ask its administrator");
}

/// Asks for the instances of each series; PACS index what they got a little later, so it is asked again.
void verify(const std::vector<Item>& items, const PacsPeer& peer, const PacsSendOptions& options) {
  std::map<std::pair<std::string, std::string>, std::set<std::string>> missing;
  for (const Item& item : items) missing[{item.header.study, item.header.series}].insert(item.header.sop_instance);
  PacsBackoff backoff(options.retry, options.hooks);
  for (;;) try {
      std::vector<FoundSeries> asked;
      for (const auto& [series, instances] : missing)
        if (!instances.empty()) asked.push_back({series.first, series.second, {}});
      for (const auto& series : find_instances(peer, asked))
        for (const auto& found : series.instances) missing[{series.study, series.series}].erase(found.sop_instance);
      std::size_t n_missing = 0;
      for (const auto& [series, instances] : missing) n_missing += instances.size();
      if (n_missing == 0) return;
      throw Error(ErrorKind::kTemporary, peer.name() + " acknowledged every instance but does not list " + std::to_string(n_missing), "ask its administrator");
    } catch (const Error& failure) {
      backoff.wait_after(failure);
    }
}

}  // namespace

PacsSendReport send_to_pacs(const fs::path& folder, const PacsPeer& peer, const PacsSendOptions& options) {
  check_pacs_tls(peer.tls);
  auto items = items_of(folder);
  PacsLedger ledger(options.ledger, peer.name(), options.accept_warnings);
  PacsSendReport report;
  report.instances = items.size();
  for (Item& item : items)
    if (ledger.has(item.instance, item.file_sha256)) item.sent = true, ++report.known;
  Sender(peer, options, ledger, report).send_all(items);
  require_all_taken(items, peer);
  if (options.verify) verify(items, peer, options);
  report.verified = options.verify;
  return report;
}

}  // namespace postrec
