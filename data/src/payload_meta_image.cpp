// MetaImage with binary data, compressed or not, attached or in one data file. [https://itk.org/Wiki/ITK/MetaIO/Documentation]
#include "byte_reader.hpp"
#include "payload.hpp"
#include "postrec/error.hpp"
#include "text_header.hpp"

namespace postrec {

namespace {

const std::map<std::string, int> kBytesOfType = {{"MET_CHAR", 1}, {"MET_UCHAR", 1}, {"MET_SHORT", 2},     {"MET_USHORT", 2},
                                                 {"MET_INT", 4},  {"MET_UINT", 4},  {"MET_LONG_LONG", 8}, {"MET_ULONG_LONG", 8},
                                                 {"MET_LONG", 4}, {"MET_ULONG", 4}, {"MET_FLOAT", 4},     {"MET_DOUBLE", 8}};

std::uint64_t promised_bytes(const TextHeader& header) {
  std::vector<std::int64_t> factors = header.integers("dimsize");
  if (header.integer("ndims") != static_cast<std::int64_t>(factors.size())) header.refuse("ndims", "it is the number of values of DimSize");
  if (header.has("elementspacing")) {
    int axis = 0;
    for (const double spacing : header.numbers("elementspacing")) require_spacing(header.path, spacing, ++axis);
  }
  if (header.has("distanceunits") && header.text("distanceunits") != "mm" && header.text("distanceunits") != "?")
    header.refuse("distanceunits", "lengths are in mm; save the image so");  // ITK would take them for mm
  if (header.has("elementnumberofchannels")) factors.push_back(header.integer("elementnumberofchannels"));
  const auto type = kBytesOfType.find(header.text("elementtype"));
  if (type == kBytesOfType.end()) header.refuse("elementtype", "a number type such as MET_FLOAT or MET_SHORT");
  factors.push_back(type->second);
  return checked_product(factors, "a size of " + quoted_path(header.path));
}

}  // namespace

std::uint64_t check_meta_image_payload(const std::filesystem::path& path) {
  check_input_file(path);
  const TextHeader header = read_text_header(path, '=', "elementdatafile");
  if (lower(header.text("objecttype", "image")) != "image") header.refuse("objecttype", "it is Image");
  const std::uint64_t promised = promised_bytes(header);
  if (lower(header.text("binarydata", "false")) != "true") header.refuse("binarydata", "it is True; save the image as binary");
  if (header.text("headersize", "0") != "0")
    header.refuse("headersize", "data that begin elsewhere than at the start are not read; save the image again without it");

  const std::string name = header.text("elementdatafile");
  std::filesystem::path data = path;
  std::uint64_t offset = header.n_bytes;
  if (lower(name) != "local") {
    if (lower(name).rfind("list", 0) == 0 || name.find('%') != std::string::npos)
      header.refuse("elementdatafile", "one data file is read, not a list; save the image as one .mha");
    data = resolve_inside(path.parent_path(), name, "ElementDataFile of " + quoted_path(path));
    offset = 0;
  }
  const std::uint64_t data_bytes = check_input_file(data);
  if (lower(header.text("compresseddata", "false")) != "true") {
    require_payload_size(data, promised, data_bytes - offset);
    return promised;
  }
  const std::uint64_t packed = header.has("compresseddatasize")
                                   ? checked_product({header.integer("compresseddatasize")}, "CompressedDataSize of " + quoted_path(path))
                                   : data_bytes - offset;
  require_payload_size(data, offset + packed, data_bytes);
  require_payload_size(data, promised, ByteReader(data, Packing::kDeflate, offset, packed).size_up_to(promised));
  return promised;
}

}  // namespace postrec
