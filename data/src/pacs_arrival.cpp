#include "pacs_arrival.hpp"

#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "postrec/atomic_file.hpp"

namespace postrec {

PacsArrivalBytes::PacsArrivalBytes(const std::filesystem::path& path) : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666)), whole_(file_.get() >= 0) {}

offile_off_t PacsArrivalBytes::write(const void* bytes, offile_off_t n) {
  whole_ = whole_ && write_all(file_.get(), {static_cast<const char*>(bytes), static_cast<std::size_t>(n)});
  return n;
}

PacsArrival::PacsArrival(std::filesystem::path path, const T_DIMSE_C_StoreRQ& request, const T_ASC_Association& association, const T_ASC_PresentationContext& context)
    : DcmOutputStream(&bytes_), path_(std::move(path)), bytes_(path_) {
  DcmMetaInfo meta;
  const Uint8 version[] = {0, 1};
  meta.putAndInsertUint32(DCM_FileMetaInformationGroupLength, 0);  // computed below
  meta.putAndInsertUint8Array(DCM_FileMetaInformationVersion, version, sizeof version);
  for (const auto& [tag, value] : {std::pair<DcmTagKey, const char*>(DCM_MediaStorageSOPClassUID, request.AffectedSOPClassUID),
                                   {DCM_MediaStorageSOPInstanceUID, request.AffectedSOPInstanceUID},
                                   {DCM_TransferSyntaxUID, context.acceptedTransferSyntax},
                                   {DCM_ImplementationClassUID, OFFIS_IMPLEMENTATION_CLASS_UID},
                                   {DCM_ImplementationVersionName, OFFIS_DTK_IMPLEMENTATION_VERSION_NAME2},
                                   {DCM_SourceApplicationEntityTitle, association.params->DULparams.callingAPTitle}})
    meta.putAndInsertString(tag, value);
  meta.computeGroupLengthAndPadding(EGL_withGL, EPD_noChange, META_HEADER_DEFAULT_TRANSFERSYNTAX, EET_UndefinedLength);
  meta.transferInit();
  meta.write(*this, META_HEADER_DEFAULT_TRANSFERSYNTAX, EET_ExplicitLength, nullptr);
  meta.transferEnd();
}

PacsArrival::~PacsArrival() { ::unlink(path_.c_str()); }

}  // namespace postrec
