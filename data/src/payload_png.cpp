// PNG: every chunk with its check sum, and as many rows as the header promises. [ISO/IEC 15948]
#include <zlib.h>

#include <fstream>

#include "payload.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

std::uint32_t big_endian(const std::string& bytes, std::size_t offset) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return value;
}

/// Filter byte and samples of every row.
std::uint64_t promised_bytes(const std::string& header) {
  const std::uint64_t width = big_endian(header, 0), height = big_endian(header, 4);
  const int bits = header[8], colour_type = header[9];
  const int samples = colour_type == 2 ? 3 : colour_type == 4 ? 2 : colour_type == 6 ? 4 : 1;
  return height * (1 + (width * bits * samples + 7) / 8);
}

/// Unpacked size of the image data, counted up to `limit` + 1; 0 when they are damaged.
std::uint64_t inflated_size(std::string& data, std::uint64_t limit) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) throw Error(ErrorKind::kOutOfMemory, "zlib has no memory", "free some memory");
  stream.next_in = reinterpret_cast<unsigned char*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  std::string out(1 << 16, '\0');
  std::uint64_t total = 0;
  int status = Z_OK;
  while (status == Z_OK && total <= limit) {
    stream.next_out = reinterpret_cast<unsigned char*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    status = inflate(&stream, Z_NO_FLUSH);
    total += out.size() - stream.avail_out;
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END || total > limit ? total : 0;
}

}  // namespace

std::uint64_t check_png_payload(const std::filesystem::path& path) {
  const std::uint64_t file_bytes = check_input_file(path);
  constexpr std::uint64_t kLargest = std::uint64_t{1} << 30;
  if (file_bytes > kLargest) throw Error(ErrorKind::kBadData, quoted_path(path) + " is larger than 1 GiB", "use NIfTI for large images");
  const std::string bytes = read_head(path, file_bytes);
  if (bytes.compare(0, 8, "\x89PNG\r\n\x1a\n") != 0)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " does not begin as a PNG file does", "it is not a PNG file");

  const Error truncated(ErrorKind::kBadData, quoted_path(path) + " is truncated or damaged", "copy the file again");
  std::string data;
  std::string header;
  for (std::size_t at = 8;;) {
    if (bytes.size() - at < 12) throw truncated;
    const std::size_t length = big_endian(bytes, at);
    if (length > bytes.size() - at - 12) throw truncated;
    const std::string type = bytes.substr(at + 4, 4);
    const auto* checked = reinterpret_cast<const unsigned char*>(bytes.data()) + at + 4;
    if (crc32(0, checked, static_cast<uInt>(length + 4)) != big_endian(bytes, at + 8 + length)) throw truncated;
    if (type == "IHDR") header = bytes.substr(at + 8, length);
    if (type == "IDAT") data += bytes.substr(at + 8, length);
    if (type == "IEND") break;
    at += length + 12;
  }
  if (header.size() != 13) throw truncated;
  // At most four samples of two bytes a pixel, whatever the palette expands to.
  const std::uint64_t pixels = checked_product({big_endian(header, 0), big_endian(header, 4), 8}, "a size of " + quoted_path(path));
  const bool interlaced = header[12] != 0;  // its rows are others, and not counted here
  if (!interlaced) require_payload_size(path, promised_bytes(header), inflated_size(data, promised_bytes(header)));
  return pixels;
}

}  // namespace postrec
