#include "pacs_find.hpp"

#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <set>
#include <sstream>

#include "child_process.hpp"
#include "dicom_uid.hpp"
#include "pacs_names.hpp"

namespace postrec {
namespace {

constexpr std::uint64_t kAnswerBytes = 4 << 20;
constexpr int kMostAnswers = 1000000;
constexpr std::size_t kTextBytes = std::size_t{256} << 20;
constexpr ChildLimits kLimits{std::uint64_t{1} << 30, 600};
constexpr const char* kModel = UID_FINDStudyRootQueryRetrieveInformationModel;

/// Calls take() for each answer; an exception of it is kept over DCMTK's frames and thrown afterwards.
struct Answers {
  PacsTransport& transport;
  std::function<void(DcmDataset&)> take;
  std::exception_ptr failure = nullptr;
  int left = kMostAnswers;
};

void on_answer(void* data, T_DIMSE_C_FindRQ*, int, T_DIMSE_C_FindRSP*, DcmDataset* identifiers) {
  auto& answers = *static_cast<Answers*>(data);
  answers.transport.allow(answers.left-- > 0 ? kAnswerBytes : 0);
  if (answers.failure || identifiers == nullptr) return;
  try {
    answers.take(*identifiers);
  } catch (const Error&) {
    answers.failure = std::current_exception();
  }
}

void find(PacsAssociation& association, DcmDataset& keys, const std::function<void(DcmDataset&)>& take) {
  const auto context = association.context(kModel);
  if (!context) throw Error(ErrorKind::kPacs, association.peer().name() + " does not allow queries (C-FIND)", "have C-FIND allowed for our title");
  T_DIMSE_C_FindRQ request{};
  request.MessageID = association.get()->nextMsgID++;
  std::strncpy(request.AffectedSOPClassUID, kModel, sizeof(request.AffectedSOPClassUID) - 1);
  request.DataSetType = DIMSE_DATASET_PRESENT;
  T_DIMSE_C_FindRSP response{};
  DcmDataset* detail = nullptr;
  int count = 0;
  Answers answers{association.transport(), take};
  association.transport().allow(kAnswerBytes);
  const OFCondition condition =
      DIMSE_findUser(association.get(), *context, &request, &keys, count, on_answer, &answers, DIMSE_NONBLOCKING, association.timeout(), &response, &detail);
  delete detail;
  association.require_good(condition);
  require_status(response.DimseStatus, "the query");
  if (answers.failure) std::rethrow_exception(answers.failure);
}

void put(DcmDataset& keys, const DcmTagKey& tag, const std::string& value) {
  if (keys.putAndInsertString(tag, value.c_str()).bad()) throw Error(ErrorKind::kInternal, "a query cannot be written");
}

std::string uid_of(DcmDataset& answer, const DcmTagKey& tag, const char* what) {
  OFString value;
  answer.findAndGetOFString(tag, value);
  if (!valid_uid(value.c_str())) throw Error(ErrorKind::kPacs, std::string("the PACS answered a query with a ") + what + " that is no UID", "it is not used");
  return value.c_str();
}

std::set<std::string> find_studies(PacsAssociation& association, const PacsQuery& query) {
  DcmDataset keys;
  put(keys, DCM_QueryRetrieveLevel, "STUDY");
  put(keys, DCM_StudyInstanceUID, query.study_uid);
  put(keys, DCM_AccessionNumber, query.accession);
  std::set<std::string> studies;
  find(association, keys, [&](DcmDataset& answer) { studies.insert(uid_of(answer, DCM_StudyInstanceUID, "study")); });
  return studies;
}

/// The series that match, without duplicates.
std::vector<FoundSeries> find_series(PacsAssociation& association, const PacsQuery& query) {
  // A series alone: DICOM wants its study, too, but archives find it without.
  std::set<std::string> studies = {query.study_uid};
  if (!query.accession.empty()) studies = find_studies(association, query);
  std::vector<FoundSeries> found;
  std::set<std::string> seen;
  for (const auto& study : studies) {
    DcmDataset keys;
    put(keys, DCM_QueryRetrieveLevel, "SERIES");
    put(keys, DCM_StudyInstanceUID, study);
    put(keys, DCM_SeriesInstanceUID, query.series_uid);
    find(association, keys, [&](DcmDataset& answer) {
      FoundSeries series{uid_of(answer, DCM_StudyInstanceUID, "study"), uid_of(answer, DCM_SeriesInstanceUID, "series"), {}};
      if (seen.insert(series.series).second) found.push_back(std::move(series));
    });
  }
  return found;
}

std::vector<FoundInstance> instances_of(PacsAssociation& association, const FoundSeries& series, bool with_class) {
  DcmDataset keys;
  put(keys, DCM_QueryRetrieveLevel, "IMAGE");
  put(keys, DCM_StudyInstanceUID, series.study);
  put(keys, DCM_SeriesInstanceUID, series.series);
  put(keys, DCM_SOPInstanceUID, "");
  if (with_class) put(keys, DCM_SOPClassUID, "");
  std::vector<FoundInstance> found;
  std::set<std::string> seen;
  find(association, keys, [&](DcmDataset& answer) {
    FoundInstance instance{"", uid_of(answer, DCM_SOPInstanceUID, "instance")};
    OFString sop_class;
    if (answer.findAndGetOFString(DCM_SOPClassUID, sop_class).good() && valid_uid(sop_class.c_str())) instance.sop_class = sop_class.c_str();
    if (seen.insert(instance.sop_instance).second) found.push_back(std::move(instance));
  });
  return found;
}

std::vector<FoundInstance> find_instances(PacsAssociation& association, const FoundSeries& series, bool with_class) {
  if (with_class) try {
      return instances_of(association, series, true);
    } catch (const Error& refusal) {
      // The class is an optional key: Orthanc opens each file for it, and refuses the whole query when one is gone.
      if (refusal.kind() != ErrorKind::kPacs) throw;
    }
  return instances_of(association, series, false);
}

/// A line for each series, "S STUDY SERIES", and behind it one for each of its instances, "I INSTANCE CLASS".
std::string text_of(const std::vector<FoundSeries>& found) {
  std::string text;
  for (const auto& series : found) {
    text += "S " + series.study + " " + series.series + "\n";
    for (const auto& instance : series.instances) text += "I " + instance.sop_instance + " " + (instance.sop_class.empty() ? "-" : instance.sop_class) + "\n";
  }
  return text;
}

std::vector<FoundSeries> found_of(const std::string& text) {
  std::vector<FoundSeries> found;
  std::istringstream lines(text);
  for (std::string kind, first, second; lines >> kind >> first >> second;) {
    const bool is_class = kind == "I" && second == "-";
    if (!valid_uid(first) || (!is_class && !valid_uid(second)) || (kind == "I" && found.empty())) throw Error(ErrorKind::kPacs, "the answers to a query cannot be used");
    if (kind == "S") found.push_back({first, second, {}});
    else found.back().instances.push_back({is_class ? "" : second, first});
  }
  return found;
}

/// What a child tells its parent.
struct Told {
  bool finished;
  int error_kind;
  char message[1024], hint[512];
  std::size_t n_text;
  char text[1];  ///< and on
};

void tell(Told& told, const std::string& text) {
  if (text.size() > kTextBytes) throw Error(ErrorKind::kPacs, "the archive found more than can be kept", "ask for less");
  std::memcpy(told.text, text.data(), text.size());
  told.n_text = text.size();
}

void tell(Told& told, const Error& error) {
  told.error_kind = static_cast<int>(error.kind());
  std::snprintf(told.message, sizeof told.message, "%s", error.message().c_str());
  std::snprintf(told.hint, sizeof told.hint, "%s", error.hint().c_str());
}

/// Queries in a child process with an association of its own, because DCMTK follows the nesting of an answer as deep as it goes.
std::vector<FoundSeries> ask(const PacsPeer& peer, const std::function<std::vector<FoundSeries>(PacsAssociation&)>& queries) {
  const SharedMemory shared(sizeof(Told) + kTextBytes);
  auto& told = *static_cast<Told*>(shared.data());
  const std::string death = run_in_child(
      [&] {
        try {
          PacsAssociation association(peer, {{kModel, native_syntaxes(), false}});
          tell(told, text_of(queries(association)));
          association.release();
        } catch (const Error& error) {
          tell(told, error);
        }
        told.finished = true;
      },
      kLimits);
  if (!told.finished) throw Error(ErrorKind::kPacs, peer.name() + " answered a query with what cannot be read (" + death + ")", "it is not used; ask its administrator");
  if (told.error_kind != 0) throw Error(static_cast<ErrorKind>(told.error_kind), told.message, told.hint);
  return found_of({told.text, told.n_text});
}

}  // namespace

std::vector<FoundSeries> find_all(const PacsPeer& peer, const PacsQuery& query) {
  return ask(peer, [&](PacsAssociation& association) {
    std::vector<FoundSeries> found = find_series(association, query);
    for (auto& series : found) series.instances = find_instances(association, series, true);
    return found;
  });
}

std::vector<FoundSeries> find_instances(const PacsPeer& peer, std::vector<FoundSeries> all) {
  return ask(peer, [&](PacsAssociation& association) {
    for (auto& series : all) series.instances = find_instances(association, series, false);
    return all;
  });
}

}  // namespace postrec
