// Pixels of enhanced multi-frame files, through DCMTK.
#include <ATen/ATen.h>
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/oflog/oflog.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "child_process.hpp"
#include "dicom_pixels.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

/// A file with its stored values, 8 or 16 bits each.
class Frames {
 public:
  explicit Frames(const std::filesystem::path& path) : path_(path) {
    good_ = file_.loadFile(path.c_str()).good() && dataset().findAndGetElement(DCM_PixelData, element_).good() && element_ != nullptr;
    Uint16 representation = 0;
    dataset().findAndGetUint16(DCM_PixelRepresentation, representation);
    is_signed_ = representation == 1;
  }

  const std::filesystem::path& path() const { return path_; }

  /// False when the values are not there.
  bool rescale(const DicomHeader& h, std::uint64_t n, float* out) {
    const std::uint64_t first = static_cast<std::uint64_t>(h.frame - 1) * n, bytes = h.bits_allocated == 8 ? 1 : 2;
    Uint8* narrow = nullptr;
    Uint16* wide = nullptr;
    if (!good_ || element_->getLength() < (first + n) * bytes) return false;
    // DCMTK hands 8-bit values out as bytes even when the file calls them words.
    if (bytes == 1 ? element_->getUint8Array(narrow).bad() || narrow == nullptr : element_->getUint16Array(wide).bad() || wide == nullptr) return false;
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint32_t raw = bytes == 1 ? narrow[first + i] : wide[first + i];
      out[i] = static_cast<float>(stored(raw, h.bits_stored) * h.rescale_slope + h.rescale_intercept);
    }
    return true;
  }

 private:
  DcmDataset& dataset() { return *file_.getDataset(); }

  double stored(std::uint32_t raw, std::int64_t bits) const {
    const std::uint32_t value = raw & ((1u << bits) - 1);
    return is_signed_ && (value >> (bits - 1)) != 0 ? static_cast<double>(value) - static_cast<double>(1u << bits) : static_cast<double>(value);
  }

  std::filesystem::path path_;
  DcmFileFormat file_;
  DcmElement* element_ = nullptr;
  bool good_ = false, is_signed_ = false;
};

}  // namespace

at::Tensor read_frame_pixels(const std::vector<DicomFile>& frames, const std::filesystem::path& scratch) {
  const DicomHeader& first = frames.front().header;
  const auto n = static_cast<std::uint64_t>(first.rows * first.columns);
  const std::size_t n_bytes = sizeof(std::uint64_t) + frames.size() * n * sizeof(float);
  const auto memory = std::make_shared<SharedMemory>(n_bytes, scratch);
  memory->reserve(n_bytes);
  auto& n_done = *static_cast<std::uint64_t*>(memory->data());
  auto* pixels = reinterpret_cast<float*>(&n_done + 1);
  std::uint64_t largest = 0;
  for (const auto& frame : frames) largest = std::max<std::uint64_t>(largest, std::filesystem::file_size(frame.path));
  const ChildLimits limits{(std::uint64_t{512} << 20) + 4 * largest, static_cast<unsigned>(60 + frames.size())};
  const std::string death = run_in_child(
      [&] {
        ::unsetenv("DCMDICTPATH");
        OFLog::configure(OFLogger::OFF_LOG_LEVEL);
        std::unique_ptr<Frames> file;
        for (; n_done < frames.size(); ++n_done) {
          const DicomFile& frame = frames[n_done];
          if (!file || file->path() != frame.path) file = std::make_unique<Frames>(frame.path);
          if (!file->rescale(frame.header, n, pixels + n_done * n)) return;
        }
      },
      limits);
  if (n_done < frames.size())
    throw Error(ErrorKind::kBadData, frames[n_done].name + ": its pixels cannot be read" + (death.empty() ? "" : " (" + death + ")"), "the file is damaged; export it again");
  return at::from_blob(pixels, {static_cast<std::int64_t>(frames.size()), first.rows, first.columns, 1}, [memory](void*) {}, at::kFloat);
}

}  // namespace postrec
