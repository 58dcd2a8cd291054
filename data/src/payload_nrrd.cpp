// NRRD with raw or gzip data, attached or in one data file. [https://teem.sourceforge.net/nrrd/format.html]
#include <cmath>
#include <sstream>

#include "byte_reader.hpp"
#include "payload.hpp"
#include "postrec/error.hpp"
#include "text_header.hpp"

namespace postrec {

namespace {

const std::map<std::string, int> kBytesOfType = {{"signed char", 1},
                                                 {"int8", 1},
                                                 {"int8_t", 1},
                                                 {"uchar", 1},
                                                 {"unsigned char", 1},
                                                 {"uint8", 1},
                                                 {"uint8_t", 1},
                                                 {"short", 2},
                                                 {"short int", 2},
                                                 {"signed short", 2},
                                                 {"signed short int", 2},
                                                 {"int16", 2},
                                                 {"int16_t", 2},
                                                 {"ushort", 2},
                                                 {"unsigned short", 2},
                                                 {"unsigned short int", 2},
                                                 {"uint16", 2},
                                                 {"uint16_t", 2},
                                                 {"int", 4},
                                                 {"signed int", 4},
                                                 {"int32", 4},
                                                 {"int32_t", 4},
                                                 {"uint", 4},
                                                 {"unsigned int", 4},
                                                 {"uint32", 4},
                                                 {"uint32_t", 4},
                                                 {"longlong", 8},
                                                 {"long long", 8},
                                                 {"long long int", 8},
                                                 {"signed long long", 8},
                                                 {"signed long long int", 8},
                                                 {"int64", 8},
                                                 {"int64_t", 8},
                                                 {"ulonglong", 8},
                                                 {"unsigned long long", 8},
                                                 {"unsigned long long int", 8},
                                                 {"uint64", 8},
                                                 {"uint64_t", 8},
                                                 {"float", 4},
                                                 {"double", 8}};

/// Lengths of the vectors in "(a,b,c) (d,e,f) none"; "none" is an axis of colours and has none.
std::vector<double> vector_lengths(const std::string& text) {
  std::vector<double> lengths;
  for (std::size_t open = text.find('('); open != std::string::npos; open = text.find('(', open + 1)) {
    double sum = 0.0;
    std::istringstream parts(text.substr(open + 1, text.find(')', open) - open - 1));
    for (std::string part; std::getline(parts, part, ',');) {
      const double value = std::strtod(part.c_str(), nullptr);
      sum += value * value;
    }
    lengths.push_back(std::sqrt(sum));
  }
  return lengths;
}

void check_spacings(const TextHeader& header) {
  int axis = 0;
  if (header.has("spacings")) {
    std::istringstream words(header.text("spacings"));
    for (std::string word; words >> word; ++axis)
      // NaN is how NRRD says that an axis (of colours) has no spacing.
      if (lower(word) != "nan" || !header.has("kinds")) require_spacing(header.path, std::strtod(word.c_str(), nullptr), axis + 1);
  }
  for (const double length : vector_lengths(header.text("spacedirections"))) require_spacing(header.path, length, ++axis);
}

/// Of the named spaces ITK takes the scanner's for the patient's, and ITK 5.2 mirrors left-anterior-superior in the wrong axes.
void check_space(const TextHeader& header) {
  const std::string space = lower(header.text("space"));
  if (header.has("space") && space != "left-posterior-superior" && space != "lps" && space != "right-anterior-superior" && space != "ras")
    header.refuse("space", "left-posterior-superior or right-anterior-superior are read; save the image in one of them");
  std::istringstream units(header.text("spaceunits"));
  for (std::string unit; units >> unit;)
    if (unit != "\"mm\"" && unit != "\"\"") header.refuse("spaceunits", "lengths are in mm; save the image so");
}

std::uint64_t promised_bytes(const TextHeader& header) {
  std::vector<std::int64_t> sizes = header.integers("sizes");
  if (header.integer("dimension") != static_cast<std::int64_t>(sizes.size())) header.refuse("dimension", "it is the number of sizes");
  const auto type = kBytesOfType.find(lower(header.text("type")));
  if (type == kBytesOfType.end()) header.refuse("type", "a number type such as float or short");
  sizes.push_back(type->second);
  return checked_product(sizes, "a size of " + quoted_path(header.path));
}

void require_no_skip(const TextHeader& header, const std::string& key) {
  const std::string value = header.text(key, "0");
  if (value != "0" && value != "-1")
    header.refuse(key, "data that begin elsewhere than at the start are not read; save the image again without it");
}

}  // namespace

std::uint64_t check_nrrd_payload(const std::filesystem::path& path) {
  check_input_file(path);
  if (read_head(path, 5) != "NRRD0")
    throw Error(ErrorKind::kBadData, quoted_path(path) + " does not begin with NRRD", "it is not a NRRD file");
  const TextHeader header = read_text_header(path, ':', "");
  const std::uint64_t promised = promised_bytes(header);
  check_spacings(header);
  check_space(header);
  for (const char* key : {"lineskip", "byteskip"}) require_no_skip(header, key);

  std::filesystem::path data = path;
  std::uint64_t offset = header.n_bytes;
  if (header.has("datafile")) {
    const std::string name = header.text("datafile");
    if (lower(name).rfind("list", 0) == 0 || name.find('%') != std::string::npos)
      header.refuse("datafile", "one data file is read, not a list; save the image as one .nrrd");
    data = resolve_inside(path.parent_path(), name, "'data file' of " + quoted_path(path));
    offset = 0;
  }
  const std::uint64_t data_bytes = check_input_file(data);

  const std::string encoding = lower(header.text("encoding"));
  if (encoding == "raw") {
    require_payload_size(data, promised, data_bytes - offset);
  } else if (encoding == "gzip" || encoding == "gz") {
    require_payload_size(data, promised, ByteReader(data, Packing::kDeflate, offset).size_up_to(promised));
  } else {
    header.refuse("encoding", "raw or gzip are read");
  }
  return promised;
}

}  // namespace postrec
