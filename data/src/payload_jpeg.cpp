// JPEG: every segment up to the end mark, and picture data that decode to their last row without a complaint. [ITU-T T.81, annex B]
//
// ITK hands libjpeg's warnings to nobody: a file cut in half comes back as a picture whose lower half is grey.
#include <cstdio>
// jpeglib.h uses FILE and size_t without including them.
#include <jpeglib.h>

#include <csetjmp>
#include <memory>

#include "child_process.hpp"
#include "payload.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

enum Marker : unsigned { kStart = 0xd8, kEnd = 0xd9, kScan = 0xda, kFirstRestart = 0xd0, kLastRestart = 0xd7, kTemporary = 0x01 };

unsigned byte_at(const std::string& bytes, std::size_t offset) { return static_cast<unsigned char>(bytes[offset]); }
std::int64_t two_bytes(const std::string& bytes, std::size_t offset) { return byte_at(bytes, offset) << 8 | byte_at(bytes, offset + 1); }

/// Frames: C0 to CF without DHT, JPG and DAC.
bool is_frame(unsigned marker) { return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc; }

struct Frame {
  std::int64_t width = 0, height = 0, components = 0;
};

Frame read_frame(const std::filesystem::path& path, const std::string& bytes, unsigned marker, std::size_t begin, std::size_t end) {
  const Error unknown(ErrorKind::kBadData, quoted_path(path) + " is JPEG of a rare kind (lossless, arithmetic or not 8 bit)",
                      "convert it to PNG, or to baseline or progressive JPEG");
  if (end - begin < 6) throw Error(ErrorKind::kBadData, quoted_path(path) + " is truncated or damaged", "copy the file again");
  if (marker > 0xc2 || byte_at(bytes, begin) != 8) throw unknown;
  const Frame frame{two_bytes(bytes, begin + 3), two_bytes(bytes, begin + 1), byte_at(bytes, begin + 5)};
  if (frame.components != 1 && frame.components != 3)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " has " + std::to_string(frame.components) + " values a pixel",
                "one (gray) or three (red, green, blue) are read; convert it");
  return frame;
}

/// Behind the picture data of a scan: at its next marker that is neither a stuffed FF nor a restart.
std::size_t skip_scan_data(const std::string& bytes, std::size_t at) {
  for (; at + 1 < bytes.size(); ++at) {
    if (byte_at(bytes, at) != 0xff) continue;
    const unsigned next = byte_at(bytes, at + 1);
    if (next != 0x00 && next != 0xff && (next < kFirstRestart || next > kLastRestart)) break;
  }
  return at;
}

/// Walks from the start mark to the end mark. What stands behind it belongs to no picture, as with PNG.
Frame walk_segments(const std::filesystem::path& path, const std::string& bytes) {
  const Error truncated(ErrorKind::kBadData, quoted_path(path) + " is truncated or damaged", "copy the file again");
  Frame frame;
  bool has_scan = false;
  for (std::size_t at = 2;;) {
    while (at < bytes.size() && byte_at(bytes, at) == 0xff && at + 1 < bytes.size() && byte_at(bytes, at + 1) == 0xff) ++at;  // fill bytes
    if (at + 2 > bytes.size() || byte_at(bytes, at) != 0xff) throw truncated;
    const unsigned marker = byte_at(bytes, at + 1);
    at += 2;
    if (marker == kEnd) break;
    if (marker == kTemporary || marker == 0x00 || marker == kStart || (marker >= kFirstRestart && marker <= kLastRestart)) throw truncated;
    if (at + 2 > bytes.size()) throw truncated;
    const auto length = static_cast<std::size_t>(two_bytes(bytes, at));
    if (length < 2 || length > bytes.size() - at) throw truncated;
    if (is_frame(marker)) {
      if (frame.components != 0) throw truncated;
      frame = read_frame(path, bytes, marker, at + 2, at + length);
    }
    at += length;
    if (marker != kScan) continue;
    if (frame.components == 0) throw truncated;
    has_scan = true;
    at = skip_scan_data(bytes, at);
  }
  if (!has_scan) throw truncated;
  return frame;
}

struct DecoderErrors {
  jpeg_error_mgr base;  ///< first: libjpeg knows this part
  std::jmp_buf back;
};

/// Whether libjpeg decodes every row without an error or a warning. In a child.
bool decodes_cleanly(const std::string& bytes) {
  jpeg_decompress_struct decoder;
  DecoderErrors errors;
  decoder.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = [](j_common_ptr common) { std::longjmp(reinterpret_cast<DecoderErrors*>(common->err)->back, 1); };
  if (setjmp(errors.back) != 0) return false;
  jpeg_create_decompress(&decoder);
  jpeg_mem_src(&decoder, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&decoder, TRUE);
  jpeg_start_decompress(&decoder);
  JSAMPARRAY row = (*decoder.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&decoder), JPOOL_IMAGE,
                                                decoder.output_width * decoder.output_components, 1);
  while (decoder.output_scanline < decoder.output_height) jpeg_read_scanlines(&decoder, row, 1);
  jpeg_finish_decompress(&decoder);
  return errors.base.num_warnings == 0;
}

}  // namespace

std::uint64_t check_jpeg_payload(const std::filesystem::path& path) {
  const std::uint64_t file_bytes = check_input_file(path);
  constexpr std::uint64_t kLargest = std::uint64_t{1} << 30;
  if (file_bytes > kLargest) throw Error(ErrorKind::kBadData, quoted_path(path) + " is larger than 1 GiB", "use NIfTI for large images");
  const std::string bytes = read_head(path, file_bytes);
  if (bytes.compare(0, 3, "\xff\xd8\xff") != 0)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " does not begin as a JPEG file does", "it is not a JPEG file");
  const Frame frame = walk_segments(path, bytes);
  const std::uint64_t pixels = checked_product({frame.width, frame.height, frame.components}, "a size of " + quoted_path(path));

  const SharedMemory answer(sizeof(bool));
  auto* clean = static_cast<bool*>(answer.data());
  const ChildLimits limits{(std::uint64_t{256} << 20) + 8 * pixels, static_cast<unsigned>(60 + pixels / 1000000)};
  const std::string death = run_in_child([&] { *clean = decodes_cleanly(bytes); }, limits);
  if (!death.empty() || !*clean)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " is truncated or damaged: its picture data do not fill the picture", "copy the file again");
  return pixels;
}

}  // namespace postrec
