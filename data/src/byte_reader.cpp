#include "byte_reader.hpp"

#include <algorithm>

#include "input_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {
constexpr std::size_t kBlock = 1 << 18;
constexpr int kDetectGzipOrZlib = 15 + 32;
}  // namespace

ByteReader::ByteReader(const std::filesystem::path& path, Packing packing, std::uint64_t offset, std::uint64_t n_bytes)
    : path_(path), packing_(packing), file_(path, std::ios::binary), n_left_(n_bytes), input_(kBlock) {
  file_.seekg(static_cast<std::streamoff>(offset));
  if (inflateInit2(&stream_, kDetectGzipOrZlib) != Z_OK) throw Error(ErrorKind::kOutOfMemory, "zlib has no memory", "free some memory");
}

ByteReader::~ByteReader() { inflateEnd(&stream_); }

void ByteReader::refill() {
  const auto wanted = static_cast<std::streamsize>(std::min<std::uint64_t>(kBlock, n_left_));
  file_.read(reinterpret_cast<char*>(input_.data()), wanted);
  stream_.next_in = input_.data();
  stream_.avail_in = static_cast<uInt>(file_.gcount());
  n_left_ -= stream_.avail_in;
}

std::string ByteReader::read(std::size_t n) {
  std::string out = packing_ == Packing::kNone ? read_plain(n) : inflate_next(n);
  n_out_ += out.size();
  return out;
}

std::string ByteReader::read_plain(std::size_t n) {
  std::string out(static_cast<std::size_t>(std::min<std::uint64_t>(n, n_left_)), '\0');
  file_.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<std::size_t>(file_.gcount()));
  n_left_ -= out.size();
  return out;
}

std::string ByteReader::inflate_next(std::size_t n) {
  std::string out(n, '\0');
  stream_.next_out = reinterpret_cast<unsigned char*>(out.data());
  stream_.avail_out = static_cast<uInt>(n);
  while (stream_.avail_out > 0 && !ended_) {
    if (stream_.avail_in == 0) refill();
    if (stream_.avail_in == 0)
      throw Error(ErrorKind::kBadData, quoted_path(path_) + " is truncated: the compressed data end too early", "copy the file again");
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      if (stream_.avail_in == 0) refill();
      ended_ = stream_.avail_in == 0;
      // gzip allows several members in a row; anything else after the end shows up as damaged data.
      if (!ended_) inflateReset(&stream_);
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      throw Error(ErrorKind::kBadData,
                  quoted_path(path_) + " has damaged compressed data" + (stream_.msg ? std::string(" (") + stream_.msg + ")" : ""),
                  "copy the file again");
    }
  }
  out.resize(n - stream_.avail_out);
  return out;
}

std::uint64_t ByteReader::size_up_to(std::uint64_t limit) {
  while (n_out_ <= limit && !read(kBlock).empty()) continue;
  return n_out_;
}

}  // namespace postrec
