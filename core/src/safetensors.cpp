#include "safetensors.hpp"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr std::uint64_t kHeaderLimit = 16u << 20;  // thousands of tensors need less than a megabyte
constexpr int kDepthLimit = 4;                      // { name: { shape: [ ... ] } }
constexpr std::size_t kMaxDimensions = 8;

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::kBadData, quoted_path(path) + " is not a readable safetensors file: " + printable(what), "copy or train the file again");
}

/// A file mapped for reading.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (descriptor < 0) throw Error(ErrorKind::kNoInput, "cannot open " + quoted_path(path) + ": " + std::strerror(errno), "give a readable prior file");
    const bool is_file = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    size_ = is_file ? static_cast<std::size_t>(status.st_size) : 0;
    void* address = size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
    ::close(descriptor);
    if (!is_file) throw Error(ErrorKind::kNoInput, quoted_path(path) + " is not a file", "give a prior file");
    if (size_ == 0) refuse(path, "it is empty");
    if (address == MAP_FAILED) throw Error(ErrorKind::kNoInput, "cannot map " + quoted_path(path) + ": " + std::strerror(errno), "check the disk");
    data_ = static_cast<const char*>(address);
  }
  ~MappedFile() { ::munmap(const_cast<char*>(data_), size_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

Json parse_header(const std::filesystem::path& path, const char* begin, const char* end) {
  if (std::find(begin, end, '\0') != end) refuse(path, "its header holds a zero byte");  // where the parser would stop reading
  bool too_deep = false;
  std::string twice;
  std::vector<std::set<std::string>> names(kDepthLimit + 2);  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    too_deep = too_deep || depth > kDepthLimit;
    if (too_deep) return false;
    if (event == Json::parse_event_t::object_start) names[depth + 1].clear();
    if (event == Json::parse_event_t::key && !names[depth].insert(value.get<std::string>()).second) twice = value.get<std::string>();
    return true;
  };
  const Json header = Json::parse(begin, end, watch, /*allow_exceptions=*/false);
  if (too_deep) refuse(path, "its header is nested too deep");
  if (!header.is_object()) refuse(path, "its header is not a JSON object");
  if (!twice.empty()) refuse(path, "'" + twice + "' stands twice in its header");
  return header;
}

std::map<std::string, std::string> parse_metadata(const std::filesystem::path& path, const Json& entry) {
  std::map<std::string, std::string> metadata;
  if (!entry.is_object()) refuse(path, "its metadata is not an object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) refuse(path, "metadata '" + key + "' is not text");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

struct Place {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Place parse_place(const std::filesystem::path& path, const std::string& name, const Json& entry, std::uint64_t n_bytes) {
  const auto has_list = [&](const char* key) {
    return entry.is_object() && entry.contains(key) && entry[key].is_array() &&
           std::all_of(entry[key].begin(), entry[key].end(), [](const Json& value) { return value.is_number_unsigned(); });
  };
  if (!has_list("shape") || !has_list("data_offsets") || entry["data_offsets"].size() != 2 || entry["shape"].size() > kMaxDimensions)
    refuse(path, "tensor '" + name + "' has no valid shape and data_offsets");
  if (!entry.contains("dtype") || entry["dtype"] != "F32") refuse(path, "tensor '" + name + "' is not of type F32");
  Place place{name, {}, entry["data_offsets"][0].get<std::uint64_t>(), entry["data_offsets"][1].get<std::uint64_t>()};
  if (place.begin > place.end || place.end > n_bytes) refuse(path, "tensor '" + name + "' lies outside the file (truncated?)");
  std::uint64_t numbers = 1;
  for (const Json& value : entry["shape"]) {
    const auto size = value.get<std::uint64_t>();
    if (size > n_bytes || (size != 0 && numbers > n_bytes / size)) refuse(path, "tensor '" + name + "' is larger than the file");
    numbers *= size;
    place.shape.push_back(static_cast<std::int64_t>(size));
  }
  if (numbers * sizeof(float) != place.end - place.begin) refuse(path, "tensor '" + name + "' does not have as many bytes as its shape says");
  return place;
}

void check_coverage(const std::filesystem::path& path, std::vector<Place> places, std::uint64_t n_bytes) {
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t covered = 0;
  for (const Place& place : places) {
    if (place.begin != covered) refuse(path, "tensor '" + place.name + "' overlaps another or leaves a gap");
    covered = place.end;
  }
  if (covered != n_bytes) refuse(path, std::to_string(n_bytes - covered) + " bytes at its end belong to no tensor");
}

// A plain loop: hundreds of small tensors would wake ATen's threads hundreds of times.
bool all_finite(const at::Tensor& tensor) {
  constexpr std::uint32_t kExponent = 0x7f800000;  // all ones in infinity and NaN
  const float* values = tensor.const_data_ptr<float>();
  bool finite = true;
  for (std::int64_t i = 0; i < tensor.numel(); ++i) finite &= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) != kExponent;
  return finite;
}

}  // namespace

std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

SafeTensors read_safetensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::uint64_t header_length = 0;
  if (file.size() < sizeof(header_length)) refuse(path, "it is shorter than 8 bytes");
  std::memcpy(&header_length, file.data(), sizeof(header_length));
  if (header_length > kHeaderLimit) refuse(path, "it claims a header of " + std::to_string(header_length) + " bytes");
  if (header_length > file.size() - sizeof(header_length)) refuse(path, "its header is truncated");
  const char* header_begin = file.data() + sizeof(header_length);
  const char* data = header_begin + header_length;
  const std::uint64_t n_bytes = file.size() - sizeof(header_length) - header_length;

  SafeTensors content;
  content.file_sha256 = sha256_hex(file.data(), file.size());
  std::vector<Place> places;
  const Json header = parse_header(path, header_begin, data);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      content.metadata = parse_metadata(path, entry);
    } else {
      places.push_back(parse_place(path, name, entry, n_bytes));
    }
  }
  check_coverage(path, places, n_bytes);
  for (const Place& place : places) {
    at::Tensor tensor = at::empty(place.shape, at::kFloat);
    if (tensor.numel() > 0) std::memcpy(tensor.data_ptr<float>(), data + place.begin, place.end - place.begin);
    if (!all_finite(tensor)) refuse(path, "tensor '" + place.name + "' holds NaN or infinity");
    content.tensors[place.name] = tensor;
  }
  return content;
}

std::string content_sha256(const SafeTensors& content) {
  Json text = {{"metadata", content.metadata}, {"tensors", Json::object()}};
  text["metadata"].erase(kContentHash);
  for (const auto& [name, tensor] : content.tensors) {
    const at::Tensor values = tensor.cpu().contiguous();
    text["tensors"][name] = {{"shape", values.sizes().vec()}, {"sha256", sha256_hex(values.const_data_ptr<float>(), values.nbytes())}};
  }
  const std::string bytes = text.dump(-1, ' ', false, Json::error_handler_t::replace);
  return sha256_hex(bytes.data(), bytes.size());
}

bool contradicts_its_hash(const SafeTensors& content) {
  const auto hash = content.metadata.find(kContentHash);
  return hash != content.metadata.end() && hash->second != content_sha256(content);
}

std::string safetensors_bytes(const SafeTensors& content) {
  Json header;
  header["__metadata__"] = content.metadata;
  std::string data;
  for (const auto& [name, tensor] : content.tensors) {
    const at::Tensor values = tensor.cpu().contiguous();
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.const_data_ptr<float>()), values.nbytes());
    header[name] = {{"dtype", "F32"}, {"shape", values.sizes().vec()}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');  // keeps the data aligned
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text + data;
}

}  // namespace postrec
