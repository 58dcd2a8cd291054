// measurement.json and its files. The smallest example that a person writes is in data/README.md.
#include "postrec/data/measurement_file.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "input_file.hpp"
#include "itk_file.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/tensor_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "postrec-measurement/1";
constexpr const char* kJsonName = "measurement.json";
constexpr std::size_t kLongestKey = 80;  ///< of which a message shows no more

// ---- tensors in files ----

/// Any shape as the four axes that a file has: [everything else, 1, second to last, last].
at::Tensor as_four_axes(const at::Tensor& tensor) {
  const std::int64_t columns = tensor.dim() > 0 ? tensor.size(-1) : 1;
  const std::int64_t rows = tensor.dim() > 2 ? tensor.size(-2) : 1;
  return tensor.reshape({-1, 1, rows, columns});
}

/// Writes <stem>.mha (real) or <stem>.cfl/.hdr (complex) and returns the name to read. Both keep every bit; NIfTI would limit sizes to
/// 32767.
std::string write_tensor_file(const fs::path& folder, const std::string& stem, const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.numel() == 0 || (tensor.scalar_type() != at::kFloat && tensor.scalar_type() != at::kComplexFloat))
    throw Error(ErrorKind::kInternal, "'" + stem + "' of a measurement is not a filled float32 or complex64 tensor", "convert it first");
  const at::Tensor values = tensor.detach().to(at::kCPU);
  if (values.is_complex()) {
    // k-space [slice, coil, ky, kx] goes to BART's own dimensions.
    write_cfl(folder / stem, values.dim() == 4 ? values : as_four_axes(values));
    return stem + ".cfl";
  }
  const std::string name = stem + ".mha";
  write_atomically(folder / name, [&](const fs::path& temporary) {
    write_itk_file(temporary, FileFormat::kMetaImage, as_four_axes(values), ImageGeometry{});
  });
  return name;
}

// ---- writing ----

Json tensor_entry(const fs::path& folder, const std::string& stem, const at::Tensor& tensor) {
  Json entry;
  entry["file"] = write_tensor_file(folder, stem, tensor);
  entry["shape"] = tensor.sizes().vec();
  return entry;
}

void require_finite_number(double value, const std::string& key) {
  if (!std::isfinite(value)) throw Error(ErrorKind::kBadData, "'" + key + "' of a measurement is not finite", "give a finite number");
}

Json value_entry(const fs::path& folder, const std::string& key, const ParameterValue& value) {
  if (const auto* tensor = std::get_if<at::Tensor>(&value)) return tensor_entry(folder, "parameter-" + key, *tensor);
  if (const auto* real = std::get_if<double>(&value)) require_finite_number(*real, key);
  if (const auto* list = std::get_if<std::vector<double>>(&value))
    for (const double element : *list) require_finite_number(element, key);
  return std::visit(
      [](const auto& plain) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(plain)>, at::Tensor>) return {};
        else return plain;
      },
      value);
}

Json to_json(const fs::path& folder, const Measurement& m) {
  require_finite_number(m.sigma_y, "sigma_y");
  Json json;
  json["format"] = kFormat;
  const Json data = tensor_entry(folder, m.y.is_complex() ? "kspace" : "data", m.y);
  json["data"] = data["file"];
  json["shape"] = data["shape"];
  json["origin"] = m.origin == MeasurementOrigin::kAcquired ? "acquired" : "simulated";
  json["sigma_y"] = m.sigma_y;
  json["unit"] = m.unit == IntensityUnit::kHounsfield ? "hounsfield" : "arbitrary";
  json["operator"] = m.operator_name;
  json["parameters"] = Json::object();
  for (const auto& [key, value] : m.parameters.all()) json["parameters"][key] = value_entry(folder, key, value);
  json["geometry"] = {{"spacing_mm", m.geometry.spacing_mm}, {"origin_mm", m.geometry.origin_mm}, {"direction", m.geometry.direction}};
  return json;
}

// ---- reading ----

/// An object of the file whose keys must be known; every error names file and key.
class Reader {
 public:
  Reader(const Json& object, fs::path file, std::string prefix = {}) : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {
    if (!object.is_object()) refuse("", "is not an object", "write { ... }");
  }

  void allow(const std::set<std::string>& keys) const {
    std::string known;
    for (const auto& key : keys) known += (known.empty() ? "" : ", ") + key;
    for (const auto& [key, value] : object_.items())
      if (!keys.count(key)) refuse(key, "is not known", "the keys are " + known);
  }

  bool has(const std::string& key) const { return object_.contains(key); }
  const Json& at(const std::string& key) const {
    if (!has(key)) refuse(key, "is missing", "add it");
    return object_.at(key);
  }
  Reader object(const std::string& key) const { return Reader(at(key), file_, prefix_ + key + "."); }

  std::string text(const std::string& key) const {
    if (!at(key).is_string()) refuse(key, "is not a text", "write it in double quotes");
    return at(key).get<std::string>();
  }
  double number(const std::string& key) const {
    if (!at(key).is_number()) refuse(key, "is not a number", "write a number without quotes");
    return at(key).get<double>();
  }
  std::vector<double> numbers(const std::string& key) const {
    const auto is_number = [](const Json& element) { return element.is_number(); };
    if (!at(key).is_array() || !std::all_of(at(key).begin(), at(key).end(), is_number))
      refuse(key, "is not a list of numbers", "write [1.0, 2.0]");
    return at(key).get<std::vector<double>>();
  }
  /// One of two words.
  bool is_second(const std::string& key, const std::string& first, const std::string& second) const {
    const std::string value = text(key);
    if (value != first && value != second) refuse(key, "is " + quoted_path(value.substr(0, 40)), "it is '" + first + "' or '" + second + "'");
    return value == second;
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& what, const std::string& hint) const {
    throw Error(ErrorKind::kBadData, quoted_path((prefix_ + key).substr(0, kLongestKey)) + " in " + quoted_path(file_) + " " + what, hint);
  }
  const fs::path& file() const { return file_; }
  const Json& json() const { return object_; }

 private:
  const Json& object_;
  fs::path file_;
  std::string prefix_;
};

at::Tensor reshaped(const Reader& json, const at::Tensor& tensor) {
  if (!json.has("shape")) return tensor;
  std::vector<std::int64_t> shape;
  for (const double size : json.numbers("shape")) shape.push_back(size >= 1.0 && size < 9e15 ? static_cast<std::int64_t>(size) : 0);
  if (checked_product(shape, "'shape' in " + quoted_path(json.file())) != static_cast<std::uint64_t>(tensor.numel()))
    json.refuse("shape", "does not fit the file, which holds " + std::to_string(tensor.numel()) + " values",
                "leave it out, or give the sizes of the file's axes");
  return tensor.reshape(shape);
}

fs::path file_of(const Reader& json, const std::string& key) {
  return resolve_inside(json.file().parent_path(), json.text(key), quoted_path(key.substr(0, kLongestKey)) + " in " + quoted_path(json.file()));
}

/// Complex [slice, coil, ky, kx]; real [slice, rows, columns], or [slice, 3, rows, columns] in colour.
struct Data {
  at::Tensor y;
  ImageGeometry geometry;
};
Data read_data(const fs::path& path) {
  if (format_of(path) == FileFormat::kCfl) return {read_cfl(path), {}};
  const Scan scan = read_scan(path);
  return {scan.image.pixels.size(1) == 1 ? scan.image.pixels.squeeze(1) : scan.image.pixels, scan.image.geometry};
}

ParameterValue read_value(const Reader& parameters, const std::string& key) {
  const Json& value = parameters.at(key);
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) return parameters.numbers(key);
  if (!value.is_object()) parameters.refuse(key, "has no value", "give a value or leave the key out");
  const Reader tensor = parameters.object(key);
  tensor.allow({"file", "shape"});
  return reshaped(tensor, read_tensor(file_of(tensor, "file")));
}

template <std::size_t n>
void read_numbers(const Reader& json, const std::string& key, std::array<double, n>& out) {
  if (!json.has(key)) return;
  const std::vector<double> values = json.numbers(key);
  if (values.size() != n) json.refuse(key, "has " + std::to_string(values.size()) + " numbers", "it has " + std::to_string(n));
  std::copy(values.begin(), values.end(), out.begin());
}

ImageGeometry read_geometry(const Reader& json) {
  json.allow({"spacing_mm", "origin_mm", "direction"});
  ImageGeometry geometry;
  read_numbers(json, "spacing_mm", geometry.spacing_mm);
  read_numbers(json, "origin_mm", geometry.origin_mm);
  read_numbers(json, "direction", geometry.direction);
  for (const double spacing : geometry.spacing_mm)
    if (!(spacing > 0.0)) json.refuse("spacing_mm", "is not above 0", "three spacings (x, y, z) in mm");
  return geometry;
}

Measurement from_json(const Reader& json) {
  json.allow({"format", "data", "shape", "origin", "sigma_y", "unit", "operator", "parameters", "geometry"});
  if (json.text("format") != kFormat) json.refuse("format", "is not one that is read", std::string("it is '") + kFormat + "'");
  Measurement m;
  const Data data = read_data(file_of(json, "data"));
  m.y = reshaped(json, data.y);
  if (json.has("origin") && json.is_second("origin", "acquired", "simulated")) m.origin = MeasurementOrigin::kSimulated;
  if (json.has("unit") && json.is_second("unit", "arbitrary", "hounsfield")) m.unit = IntensityUnit::kHounsfield;
  if (json.has("sigma_y")) m.sigma_y = json.number("sigma_y");
  if (!(m.sigma_y >= 0.0)) json.refuse("sigma_y", "is below 0", "a standard deviation, or 0 when it is not known");
  if (json.has("operator")) m.operator_name = json.text("operator");
  if (json.has("parameters")) {
    const Reader parameters = json.object("parameters");
    for (const auto& [key, value] : parameters.json().items()) m.parameters.set(key, read_value(parameters, key));
  }
  if (json.has("geometry")) m.geometry = read_geometry(json.object("geometry"));
  return m;
}

Measurement read_folder(const fs::path& json_file) {
  constexpr std::uint64_t kLimit = 64 << 20;
  if (check_input_file(json_file) > kLimit)
    throw Error(ErrorKind::kBadData, quoted_path(json_file) + " is larger than 64 MiB", "keep tensors in files of their own");
  const Json json = Json::parse(read_head(json_file, kLimit), nullptr, /*allow_exceptions=*/false, /*ignore_comments=*/true);
  if (json.is_discarded())
    throw Error(ErrorKind::kBadData, quoted_path(json_file) + " is not JSON", "check its commas, quotes and brackets");
  return from_json(Reader(json, json_file));
}

/// A new or empty folder, and what was written into it; taken back unless it is kept.
class FreshFolder {
 public:
  explicit FreshFolder(const fs::path& folder) : folder_(folder) {
    std::error_code error;
    made_ = fs::create_directory(folder, error);
    if (error)
      throw Error(ErrorKind::kCannotCreate, quoted_path(folder) + " cannot be created: " + error.message(),
                  "check that the folder above it exists and can be written");
    if (!made_ && !fs::is_empty(folder))
      throw Error(ErrorKind::kCannotCreate, quoted_path(folder) + " exists and is not empty", "give the name of a new folder");
  }
  ~FreshFolder() {
    if (kept_) return;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_, ignored)) fs::remove(entry, ignored);
    if (made_) fs::remove(folder_, ignored);
  }
  void keep() { kept_ = true; }

 private:
  fs::path folder_;
  bool made_ = false;
  bool kept_ = false;
};

}  // namespace

Measurement read_measurement(const fs::path& path) {
  if (fs::is_directory(path)) {
    if (!fs::exists(path / kJsonName))
      throw Error(ErrorKind::kNoInput, quoted_path(path) + " holds no measurement.json",
                  "give a measurement folder, or a data file (.cfl, .nii, .nii.gz, .mha, .nrrd)");
    return read_folder(path / kJsonName);
  }
  check_input_file(path);
  if (ends_with(path, ".json")) return read_folder(path);
  Measurement m;
  const Data data = read_data(path);
  m.y = data.y;
  m.geometry = data.geometry;
  return m;
}

void write_measurement(const fs::path& folder, const Measurement& measurement) {
  FreshFolder fresh(folder);
  const Json json = to_json(folder, measurement);
  write_text_atomically(folder / kJsonName, json.dump(2) + "\n");
  fresh.keep();
}

}  // namespace postrec
