#include "postrec/data/pacs_get.hpp"

#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "dicom_uid.hpp"
#include "pacs_association.hpp"
#include "pacs_find.hpp"
#include "pacs_names.hpp"
#include "pacs_reception.hpp"
#include "pacs_retry.hpp"
#include "postrec/atomic_file.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr const char* kModel = UID_GETStudyRootQueryRetrieveInformationModel;

bool is_there(const fs::path& folder, const FoundSeries& series, const FoundInstance& instance) {
  std::error_code ignored;
  return fs::is_regular_file(folder / series_digest(series.series) / (instance_digest(instance.sop_instance) + ".dcm"), ignored);
}

/// One of each kind, in the encodings that scanners and archives use. An archive picks the context that fits what it has; most unpack for the uncompressed one.
std::vector<PacsContext> contexts_of(const std::vector<FoundSeries>& all) {
  constexpr std::size_t kMost = 128;
  std::set<std::string> classes;
  bool untold = false;
  for (const auto& wanted : all)
    for (const auto& instance : wanted.instances) instance.sop_class.empty() ? void(untold = true) : void(classes.insert(instance.sop_class));
  if (untold)
    for (int i = 0; i < numberOfDcmShortSCUStorageSOPClassUIDs; ++i) classes.insert(dcmShortSCUStorageSOPClassUIDs[i]);
  std::vector<PacsContext> contexts = {{kModel, native_syntaxes(), false}};
  for (const auto& sop_class : classes)
    if (contexts.size() < kMost) contexts.push_back({sop_class, native_syntaxes(), true});
  for (const auto& sop_class : classes)
    for (const auto& syntax : compressed_syntaxes())
      if (contexts.size() < kMost) contexts.push_back({sop_class, {syntax}, true});
  return contexts;
}

/// One C-GET: sends the request and takes instances until the final answer, whose status is returned. `missing` loses what arrived.
unsigned get(PacsAssociation& association, PacsReception& reception, const fs::path& folder, DcmDataset& keys, std::size_t& n_stored, const PacsHooks& hooks) {
  const auto context = association.context(kModel);
  if (!context) throw Error(ErrorKind::kPacs, association.peer().name() + " does not allow retrieval (C-GET)", "have C-GET allowed for our title");
  T_DIMSE_Message message{};
  message.CommandField = DIMSE_C_GET_RQ;
  message.msg.CGetRQ.MessageID = association.get()->nextMsgID++;
  std::strncpy(message.msg.CGetRQ.AffectedSOPClassUID, kModel, sizeof(message.msg.CGetRQ.AffectedSOPClassUID) - 1);
  message.msg.CGetRQ.Priority = DIMSE_PRIORITY_MEDIUM;
  message.msg.CGetRQ.DataSetType = DIMSE_DATASET_PRESENT;
  association.require_good(DIMSE_sendMessageUsingMemoryData(association.get(), *context, &message, nullptr, &keys, nullptr, nullptr));
  for (;;) {
    require_not_interrupted(hooks);
    association.transport().allow(kCommandAnswerBytes);
    T_ASC_PresentationContextID id = 0;
    T_DIMSE_Message answer{};
    DcmDataset* detail = nullptr;
    const OFCondition received = DIMSE_receiveCommand(association.get(), DIMSE_NONBLOCKING, association.timeout(), &id, &answer, &detail);
    delete detail;
    association.require_good(received);
    if (answer.CommandField == DIMSE_C_STORE_RQ) {
      PacsReception::Outcome outcome;
      association.require_good(reception.receive(association.get(), association.transport(), id, answer.msg.CStoreRQ, association.timeout(), outcome));
      n_stored += outcome == PacsReception::Outcome::kStored;
      if (outcome == PacsReception::Outcome::kNoRoom) throw Error(ErrorKind::kInputOutput, "an instance that arrived cannot be written into " + quoted_path(folder) + ": the disk is full or failed", "make room; --resume fetches the missing ones");
    } else if (answer.CommandField == DIMSE_C_GET_RSP) {
      if (answer.msg.CGetRSP.DataSetType != DIMSE_DATASET_NULL) {  // the list of what failed; the comparison tells it, too
        association.transport().allow(1 << 20);
        DIC_UL bytes = 0, pieces = 0;
        association.require_good(DIMSE_ignoreDataSet(association.get(), DIMSE_NONBLOCKING, association.timeout(), &bytes, &pieces));
      }
      const unsigned status = answer.msg.CGetRSP.DimseStatus;
      if (status != STATUS_Pending) return status;
    } else {
      throw Error(ErrorKind::kPacs, association.peer().name() + " sent a message that does not belong to a C-GET", "it is not a DICOM archive as the standard has it");
    }
  }
}

void put(DcmDataset& keys, const DcmTagKey& tag, const std::string& value) {
  if (keys.putAndInsertString(tag, value.c_str()).bad()) throw Error(ErrorKind::kInternal, "a request cannot be written");
}

class Getter {
 public:
  Getter(const PacsQuery& query, const PacsPeer& peer, fs::path folder, const PacsGetOptions& options)
      : query_(query), peer_(peer), folder_(std::move(folder)), options_(options), backoff_(options.retry, options.hooks) {}

  PacsGetReport run() {
    retrying([&] { find_wanted(); });
    require_ours();
    reception_.emplace(folder_, options_.instance_bytes);
    retrying([&] { fetch_missing(); });
    report_.series = wanted_.size();
    for (const auto& wanted : wanted_) report_.instances += wanted.instances.size();
    return report_;
  }

 private:
  template <class Work>
  void retrying(const Work& work) {
    for (;;) try {
        return work();
      } catch (const Error& failure) {
        backoff_.wait_after(failure);
      }
  }

  void find_wanted() {
    require_not_interrupted(options_.hooks);
    std::vector<FoundSeries> all = find_all(peer_, query_);
    std::erase_if(all, [](const FoundSeries& series) { return series.instances.empty(); });
    if (all.empty()) throw Error(ErrorKind::kNoInput, peer_.name() + " has nothing that matches", "check the UIDs; for a series, give its study, too");
    wanted_ = std::move(all);
  }

  /// A folder that an interrupted call left must be of the same query.
  void require_ours() const {
    std::error_code failure;
    if (!fs::exists(folder_, failure)) return;
    std::set<std::string> ours;
    for (const auto& wanted : wanted_)
      for (const auto& instance : wanted.instances) ours.insert(series_digest(wanted.series) + "/" + instance_digest(instance.sop_instance) + ".dcm");
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      const std::string name = fs::relative(entry.path(), folder_).generic_string();
      if (entry.is_regular_file() && name.rfind(PacsReception::kIncoming, 0) != 0 && ours.count(name) == 0)
        throw Error(ErrorKind::kCannotCreate, quoted_path(folder_) + " holds instances of another query", "remove it, or give another --output");
    }
  }

  void fetch_missing() {
    require_not_interrupted(options_.hooks);
    std::optional<PacsAssociation> association;
    std::size_t n_missing = 0, n_total = 0;
    unsigned last_status = 0;
    for (const auto& wanted : wanted_) {
      n_total += wanted.instances.size();
      const auto missing = missing_of(wanted);
      if (missing.empty()) continue;
      if (!association) association.emplace(peer_, contexts_of(wanted_));
      const unsigned status = fetch(*association, wanted, missing);
      if (status != 0) last_status = status;
      n_missing += missing_of(wanted).size();
    }
    if (association) association->release();
    if (n_missing == 0) return;
    const std::string text = std::to_string(n_total - n_missing) + " of " + std::to_string(n_total) + " instances arrived" + (last_status ? ", status " + hexadecimal(last_status) : "");
    // A status that says that some transfers failed (0xB000) may mean any reason.
    const bool hopeless = last_status != 0 && !is_temporary_status(last_status) && !is_warning_status(last_status);
    throw Error(hopeless ? ErrorKind::kPacs : ErrorKind::kTemporary, text, "--resume fetches the missing ones");
  }

  std::vector<FoundInstance> missing_of(const FoundSeries& wanted) const {
    std::vector<FoundInstance> missing;
    for (const auto& instance : wanted.instances)
      if (!is_there(folder_, wanted, instance)) missing.push_back(instance);
    return missing;
  }

  /// The whole series when nothing of it is there, else one by one.
  unsigned fetch(PacsAssociation& association, const FoundSeries& wanted, const std::vector<FoundInstance>& missing) {
    std::set<std::string> expected;
    for (const auto& instance : missing) expected.insert(instance.sop_instance);
    reception_->wanted = [&](const InstanceHeader& header) { return header.series == wanted.series && expected.count(header.sop_instance) != 0; };
    if (missing.size() == wanted.instances.size()) return fetch_one(association, wanted, "");
    unsigned status = 0;
    for (const auto& instance : missing)
      if (const unsigned one = fetch_one(association, wanted, instance.sop_instance); one != 0) status = one;
    return status;
  }

  unsigned fetch_one(PacsAssociation& association, const FoundSeries& series, const std::string& instance) {
    DcmDataset keys;
    put(keys, DCM_QueryRetrieveLevel, instance.empty() ? "SERIES" : "IMAGE");
    put(keys, DCM_StudyInstanceUID, series.study);
    put(keys, DCM_SeriesInstanceUID, series.series);
    if (!instance.empty()) put(keys, DCM_SOPInstanceUID, instance);
    const std::size_t before = report_.fetched;
    struct Progress {  // also when the connection breaks half-way
      const std::size_t before;
      const std::size_t& now;
      PacsBackoff& backoff;
      ~Progress() {
        if (now > before) backoff.progress();
      }
    } progress{before, report_.fetched, backoff_};
    return get(association, *reception_, folder_, keys, report_.fetched, options_.hooks);
  }

  const PacsQuery& query_;
  const PacsPeer& peer_;
  fs::path folder_;
  const PacsGetOptions& options_;
  PacsBackoff backoff_;
  std::optional<PacsReception> reception_;
  std::vector<FoundSeries> wanted_;
  PacsGetReport report_;
};

bool is_taken(const fs::path& path) {
  std::error_code failure;
  return fs::exists(fs::symlink_status(path, failure));
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

}  // namespace

PacsQuery read_pacs_query(const fs::path& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kNoInput, "cannot open --query " + quoted_path(path), "give a file with lines such as study = 1.2.3");
  PacsQuery query;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#') continue;
    const auto equals = line.find('=');
    const std::string key = trimmed(line.substr(0, equals)), value = equals == std::string::npos ? "" : trimmed(line.substr(equals + 1));
    std::string* target = key == "study" ? &query.study_uid : key == "series" ? &query.series_uid : key == "accession" ? &query.accession : nullptr;
    if (target == nullptr || value.empty() || !target->empty())
      throw Error(ErrorKind::kBadData, quoted_path(path) + ", line " + std::to_string(number) + " is not understood", "write each of study, series, accession = VALUE at most once");
    *target = value;
  }
  return query;
}

void check_pacs_query(const PacsQuery& query) {
  if (query.study_uid.empty() && query.series_uid.empty() && query.accession.empty())
    throw Error(ErrorKind::kUsage, "nothing is asked for", "give --study, --series or --query");
  for (const auto& [name, value] : {std::pair("study", query.study_uid), std::pair("series", query.series_uid)})
    if (!value.empty() && !valid_uid(value)) throw Error(ErrorKind::kUsage, std::string("the ") + name + " asked for is not a UID", "a UID has digits and dots, at most 64");
  // No wildcards: what is asked for is one thing.
  const bool number = query.accession.size() <= 16 && std::all_of(query.accession.begin(), query.accession.end(), [](unsigned char c) {
                        return c >= 0x20 && c < 0x7f && std::strchr("\\*?", c) == nullptr;
                      });
  if (!number) throw Error(ErrorKind::kUsage, "the accession number is not one", "it has at most 16 characters, none of * ? \\");
}

PacsGetReport get_from_pacs(const PacsQuery& query, const PacsPeer& peer, const fs::path& output, const PacsGetOptions& options) {
  check_pacs_query(query);
  check_pacs_tls(peer.tls);
  const fs::path plain = output.lexically_normal(), target = plain.has_filename() ? plain : plain.parent_path(), partial = target.string() + ".partial";
  if (target.empty()) throw Error(ErrorKind::kUsage, "--output is empty", "give the name of a folder to write");
  if (is_taken(target)) throw Error(ErrorKind::kCannotCreate, "--output " + quoted_path(output) + " exists", "give another name");
  if (is_taken(partial) && !options.resume)
    throw Error(ErrorKind::kCannotCreate, quoted_path(partial) + " is there from a call that did not end", "go on with --resume, or remove it");
  const PacsGetReport report = Getter(query, peer, partial, options).run();
  std::error_code failure;
  fs::remove_all(partial / PacsReception::kIncoming, failure);
  failure.clear();
  fs::rename(partial, target, failure);
  if (failure) throw Error(ErrorKind::kCannotCreate, "cannot rename the finished folder to " + quoted_path(output) + ": " + failure.message(), "was it changed meanwhile?");
  return report;
}

}  // namespace postrec
