#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cstdint>

namespace postrec {

/// The item that says something of a frame (counted from 1): in its own functional group, or in the one that all frames share; null without either.
DcmItem* group_item(DcmItem& dataset, std::int64_t frame, const DcmTagKey& sequence);

}  // namespace postrec
