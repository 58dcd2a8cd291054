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
  if (const auto* tensor = std::get_if<at::Tensor>(&value)) {
    // Maps [coil, rows, columns]: coils lie along BART's own dimension, so that the file is one for --set, too.
    const bool has_coils = tensor->is_complex() && tensor->dim() == 3;
    Json entry = tensor_entry(folder, "parameter-" + key, has_coils ? tensor->unsqueeze(0) : *tensor);
    entry["shape"] = tensor->sizes().vec();
    return entry;
  }
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

/// One number, or a file of them.
Json counts_entry(const fs::path& folder, const std::string& key, const at::Tensor& values) {
  if (!values.defined() || values.numel() != 1) return tensor_entry(folder, "counts-" + key, values);
  const double number = values.item<double>();
  require_finite_number(number, "counts." + key);
  return number;
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
  if (m.counts) json["counts"] = {{"flux", counts_entry(folder, "flux", m.counts->flux)}, {"background", counts_entry(folder, "background", m.counts->background)}};
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
  bool flag(const std::string& key) const {
    if (!at(key).is_boolean()) refuse(key, "is neither true nor false", "write true or false without quotes");
    return at(key).get<bool>();
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
Data read_data(const fs::path& path, const fs::path& scratch) {
  if (format_of(path) == FileFormat::kCfl) return {read_cfl(path), {}};
  const Scan scan = read_scan(path, {.scratch = scratch});
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

/// `geometry` with what the file says of it.
ImageGeometry read_geometry(const Reader& json, ImageGeometry geometry) {
  json.allow({"spacing_mm", "origin_mm", "direction"});
  read_numbers(json, "spacing_mm", geometry.spacing_mm);
  read_numbers(json, "origin_mm", geometry.origin_mm);
  read_numbers(json, "direction", geometry.direction);
  for (const double spacing : geometry.spacing_mm)
    if (!(spacing > 0.0)) json.refuse("spacing_mm", "is not above 0", "three spacings (x, y, z) in mm");
  if (!is_orthonormal(geometry)) json.refuse("direction", "is not orthonormal", "its columns are the directions of x, y and z: at right angles, of length 1");
  return geometry;
}

/// "flux" or "background": a number, a list of numbers (one for each detector element) or a file.
at::Tensor read_counts_entry(const Reader& counts, const std::string& key) {
  const ParameterValue value = read_value(counts, key);
  at::Tensor values;
  if (const auto* tensor = std::get_if<at::Tensor>(&value)) values = *tensor;
  else if (const auto* list = std::get_if<std::vector<double>>(&value)) values = at::tensor(*list, at::kFloat);
  else if (const auto* real = std::get_if<double>(&value)) values = at::full({1}, *real, at::kFloat);
  else if (const auto* integer = std::get_if<std::int64_t>(&value)) values = at::full({1}, *integer, at::kFloat);
  else counts.refuse(key, "is no number of photons", "give a number, a list of numbers or {\"file\": \"flat.mha\"}");
  if (values.is_complex() || values.numel() == 0 || !(values.min().item<double>() >= 0.0) || !std::isfinite(values.max().item<double>()))
    counts.refuse(key, "is not a number of photons everywhere", "finite real numbers, 0 and above");
  return values;
}

void read_counts(const Reader& json, ProjectionOptions& options) {
  if (!json.has("counts")) return;
  const Reader counts = json.object("counts");
  counts.allow({"flux", "background"});
  const at::Tensor flux = read_counts_entry(counts, "flux");
  if (!(flux.max().item<double>() > 0.0)) counts.refuse("flux", "is 0 everywhere", "the photons that a detector element counts without an object");
  if (!options.flux.defined()) options.flux = flux;
  if (counts.has("background") && !options.background.defined()) options.background = read_counts_entry(counts, "background");
}

/// The data themselves: a projection stack with a geometry of its own, or y as it is.
ReadMeasurement read_json_data(const Reader& json, ProjectionOptions options, const fs::path& scratch) {
  if (json.has("mid_plane")) options.mid_plane = json.flag("mid_plane") || options.mid_plane;
  if (options.geometry_file.empty() && json.has("geometry_file")) options.geometry_file = file_of(json, "geometry_file");
  const fs::path path = file_of(json, "data");
  if (!options.geometry_file.empty()) {
    if (json.has("shape")) json.refuse("shape", "is given with a geometry file", "the stack has the sizes of its file; take it out");
    read_counts(json, options);
    return read_projection_stack(path, options);
  }
  if (json.has("mid_plane")) json.refuse("mid_plane", "is given without 'geometry_file'", "take it out, or name RTK's geometry file");
  ReadMeasurement read;
  const Data data = read_data(path, scratch);
  read.measurement.y = reshaped(json, data.y);
  if (read.measurement.y.size(-1) == data.y.size(-1)) {  // other rows are not those of the file
    read.measurement.geometry = data.geometry;
    read.element_mm = data.geometry.spacing_mm[0];
  }
  ProjectionOptions said;  // not what was typed: without a geometry its layout is that of y, which NoiseModel knows
  read_counts(json, said);
  if (said.flux.defined()) read.measurement.counts = PhotonCounts{said.flux, said.background.defined() ? said.background : at::zeros({1})};
  return read;
}

void read_parameters(const Reader& json, ReadMeasurement& read) {
  if (!json.has("parameters")) return;
  const Reader parameters = json.object("parameters");
  for (const auto& [key, value] : parameters.json().items()) {
    if (read.projections && read.measurement.parameters.has(key) && !is_image_parameter(key)) parameters.refuse(key, "is said by the geometry file, too", "take it out");
    read.measurement.parameters.set(key, read_value(parameters, key));
  }
}

/// The size of a pixel has two places, the operator's "pixel-mm" and the image's geometry: what one of them says holds for both.
void agree_on_pixel_size(const Reader& json, ReadMeasurement& read) {
  Parameters& parameters = read.measurement.parameters;
  auto& spacing = read.measurement.geometry.spacing_mm;
  const bool says_spacing = read.said.spacing, says_pixel = json.has("parameters") && json.object("parameters").has("pixel-mm");
  if (read.projections && says_spacing && !says_pixel) parameters.set("pixel-mm", spacing[0]);
  if (!parameters.has("pixel-mm")) return;
  const double pixel = parameters.real("pixel-mm");
  if (!says_spacing) spacing[0] = spacing[1] = pixel;
  if (!same_pixel_size(pixel, spacing[0]))
    json.object("parameters").refuse("pixel-mm", "is " + std::to_string(pixel) + ", but 'geometry.spacing_mm' says " + std::to_string(spacing[0]) + " mm", "take one of them out");
}

ReadMeasurement from_json(const Reader& json, const ProjectionOptions& options, const fs::path& scratch) {
  json.allow({"format", "data", "shape", "origin", "sigma_y", "unit", "operator", "parameters", "geometry", "counts", "geometry_file", "mid_plane"});
  if (json.text("format") != kFormat) json.refuse("format", "is not one that is read", std::string("it is '") + kFormat + "'");
  ReadMeasurement read = read_json_data(json, options, scratch);
  Measurement& m = read.measurement;
  if (json.has("origin") && json.is_second("origin", "acquired", "simulated")) m.origin = MeasurementOrigin::kSimulated;
  if (json.has("unit")) m.unit = json.is_second("unit", "arbitrary", "hounsfield") ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  if (json.has("sigma_y")) m.sigma_y = json.number("sigma_y");
  if (!(m.sigma_y >= 0.0)) json.refuse("sigma_y", "is below 0", "a standard deviation, or 0 when it is not known");
  if (m.sigma_y > 0.0 && m.counts) json.refuse("sigma_y", "is given with 'counts'", "counts are Poisson and have no sigma_y; take one of them out");
  if (json.has("operator")) m.operator_name = json.text("operator");
  if (read.projections && m.operator_name != "ct-radon") json.refuse("operator", "is not 'ct-radon', but the data have a geometry file", "take one of them out");
  read_parameters(json, read);
  if (json.has("geometry")) {
    const Reader geometry = json.object("geometry");
    m.geometry = read_geometry(geometry, m.geometry);
    read.said = {geometry.has("spacing_mm"), geometry.has("origin_mm"), geometry.has("direction")};
    read.around_isocentre = read.around_isocentre && !read.said.origin;
    if (read.said.spacing) read.element_mm = 0.0;  // pixels and elements are as that and the parameters say
  }
  agree_on_pixel_size(json, read);
  return read;
}

ReadMeasurement read_folder(const fs::path& json_file, const ProjectionOptions& options, const fs::path& scratch) {
  constexpr std::uint64_t kLimit = 64 << 20;
  const std::uint64_t size = check_input_file(json_file);
  if (size > kLimit)
    throw Error(ErrorKind::kBadData, quoted_path(json_file) + " is larger than 64 MiB", "keep tensors in files of their own");
  const Json json = Json::parse(read_head(json_file, size), nullptr, /*allow_exceptions=*/false, /*ignore_comments=*/true);
  if (json.is_discarded())
    throw Error(ErrorKind::kBadData, quoted_path(json_file) + " is not JSON", "check its commas, quotes and brackets");
  return from_json(Reader(json, json_file), options, scratch);
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

ReadMeasurement read_acquisition(const fs::path& path, const ProjectionOptions& options, const fs::path& scratch) {
  if (fs::is_directory(path)) {
    if (fs::exists(path / kJsonName)) return read_folder(path / kJsonName, options, scratch);
    if (is_dicom_projection_folder(path)) return read_dicom_ct_pd(path, options);
    throw Error(ErrorKind::kNoInput, quoted_path(path) + " holds no measurement.json",
                "give a measurement folder, a folder of DICOM-CT-PD projections, or a data file (.cfl, .nii, .nii.gz, .mha, .nrrd)");
  }
  check_input_file(path);
  if (ends_with(path, ".json")) return read_folder(path, options, scratch);
  if (!options.geometry_file.empty()) return read_projection_stack(path, options);
  ReadMeasurement read;
  const Data data = read_data(path, scratch);
  read.measurement.y = data.y;
  read.measurement.geometry = data.geometry;
  read.element_mm = data.geometry.spacing_mm[0];
  return read;
}

Measurement read_measurement(const fs::path& path, const fs::path& scratch) {
  ReadMeasurement read = read_acquisition(path, {}, scratch);
  if (read.around_isocentre) place_around_isocentre(read.measurement);
  return std::move(read.measurement);
}

void write_measurement(const fs::path& folder, const Measurement& measurement) {
  FreshFolder fresh(folder);
  const Json json = to_json(folder, measurement);
  write_text_atomically(folder / kJsonName, json.dump(2) + "\n");
  fresh.keep();
}

}  // namespace postrec
