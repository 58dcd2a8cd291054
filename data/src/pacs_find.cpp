#include "pacs_find.hpp"

#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>

#include <cstring>
#include <exception>
#include <functional>
#include <set>

#include "dicom_uid.hpp"

namespace postrec {
namespace {

constexpr std::uint64_t kAnswerBytes = 256 << 20;
constexpr const char* kModel = UID_FINDStudyRootQueryRetrieveInformationModel;

/// Calls take() for each answer; an exception of it is kept over DCMTK's frames and thrown afterwards.
struct Answers {
  std::function<void(DcmDataset&)> take;
  std::exception_ptr failure;
};

void on_answer(void* data, T_DIMSE_C_FindRQ*, int, T_DIMSE_C_FindRSP*, DcmDataset* identifiers) {
  auto& answers = *static_cast<Answers*>(data);
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
  Answers answers{take, nullptr};
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

}  // namespace

PacsContext find_context() { return {kModel, {UID_LittleEndianExplicitTransferSyntax, UID_LittleEndianImplicitTransferSyntax}, false}; }

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
      FoundSeries series{uid_of(answer, DCM_StudyInstanceUID, "study"), uid_of(answer, DCM_SeriesInstanceUID, "series")};
      if (seen.insert(series.series).second) found.push_back(std::move(series));
    });
  }
  return found;
}

namespace {

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

}  // namespace

std::vector<FoundInstance> find_instances(PacsAssociation& association, const FoundSeries& series, bool with_class) {
  if (with_class) try {
      return instances_of(association, series, true);
    } catch (const Error& refusal) {
      // The class is an optional key: Orthanc opens each file for it, and refuses the whole query when one is gone.
      if (refusal.kind() != ErrorKind::kPacs) throw;
    }
  return instances_of(association, series, false);
}

}  // namespace postrec
