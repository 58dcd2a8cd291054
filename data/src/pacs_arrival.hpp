#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrma.h>
#include <dcmtk/dcmnet/dimse.h>

#include <filesystem>

#include "descriptor.hpp"

namespace postrec {

/// Where the bytes of an arriving data set go: into a file, as long as the disk takes them, and then nowhere. It never refuses one, because DCMTK, told of a failed write, waits for
/// more of a data set that may have ended with it: the peer would hear nothing before its time-out.
class PacsArrivalBytes : public DcmConsumer {
 public:
  explicit PacsArrivalBytes(const std::filesystem::path& path);
  ~PacsArrivalBytes() override = default;

  OFBool good() const override { return OFTrue; }
  OFCondition status() const override { return EC_Normal; }
  OFBool isFlushed() const override { return OFTrue; }
  offile_off_t avail() const override { return 1 << 16; }
  offile_off_t write(const void* bytes, offile_off_t n) override;
  void flush() override {}

  /// Whether all that was written is on the disk.
  bool sync() { return whole_ && file_.sync(); }

 private:
  Descriptor file_;
  bool whole_;                                 ///< everything so far was written
};

/// The file of an instance that arrives: meta header, as [PS3.10, section 7.1] has it, and then the data set as it comes. Gone with this object.
class PacsArrival : public DcmOutputStream {
 public:
  PacsArrival(std::filesystem::path path, const T_DIMSE_C_StoreRQ& request, const T_ASC_Association& association, const T_ASC_PresentationContext& context);
  ~PacsArrival() override;

  const std::filesystem::path& path() const { return path_; }
  bool sync() { return bytes_.sync(); }

 private:
  std::filesystem::path path_;
  PacsArrivalBytes bytes_;
};

}  // namespace postrec
