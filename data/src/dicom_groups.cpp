#include "dicom_groups.hpp"

namespace postrec {

DcmItem* group_item(DcmItem& dataset, std::int64_t frame, const DcmTagKey& sequence) {
  DcmItem *group = nullptr, *item = nullptr;
  if (dataset.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, group, static_cast<long>(frame - 1)).good() &&
      group->findAndGetSequenceItem(sequence, item, 0).good())
    return item;
  if (dataset.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, group, 0).good() && group->findAndGetSequenceItem(sequence, item, 0).good()) return item;
  return nullptr;
}

}  // namespace postrec
