// RTK's geometry files. The formulas are those of RTK's documentation, "3D Projection Geometry".
#include "rtk_geometry.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numbers>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "input_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

constexpr std::size_t kLargestFile = 64 << 20;
constexpr std::size_t kLongestText = 60;    // of the file, of which a message shows no more
constexpr double kMatrixTolerance = 1e-3;   // RTK's own

using Matrix = std::array<double, 12>;      // 3x4, row by row

const std::map<std::string_view, double RtkProjection::*> kNumbers = {
    {"SourceToIsocenterDistance", &RtkProjection::source_to_isocenter}, {"SourceToDetectorDistance", &RtkProjection::source_to_detector},
    {"GantryAngle", &RtkProjection::gantry_angle},                      {"Angle", &RtkProjection::gantry_angle},  // its name before version 2
    {"OutOfPlaneAngle", &RtkProjection::out_of_plane_angle},            {"InPlaneAngle", &RtkProjection::in_plane_angle},
    {"ProjectionOffsetX", &RtkProjection::projection_offset_x},         {"ProjectionOffsetY", &RtkProjection::projection_offset_y},
    {"SourceOffsetX", &RtkProjection::source_offset_x},                 {"SourceOffsetY", &RtkProjection::source_offset_y}};

/// Row-major product of a [rows, n] and an [n, columns] matrix.
template <std::size_t rows, std::size_t n, std::size_t columns>
std::array<double, rows * columns> product(const std::array<double, rows * n>& a, const std::array<double, n * columns>& b) {
  std::array<double, rows * columns> c{};
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j)
      for (std::size_t k = 0; k < n; ++k) c[i * columns + j] += a[i * n + k] * b[k * columns + j];
  return c;
}

/// Fixed coordinates to detector coordinates, homogeneous.
Matrix projection_matrix(const RtkProjection& p) {
  const double degree = std::numbers::pi / 180.0;
  const double ci = std::cos(-p.in_plane_angle * degree), si = std::sin(-p.in_plane_angle * degree);
  const double co = std::cos(-p.out_of_plane_angle * degree), so = std::sin(-p.out_of_plane_angle * degree);
  const double cg = std::cos(-p.gantry_angle * degree), sg = std::sin(-p.gantry_angle * degree);
  const std::array<double, 9> turned = product<3, 3, 3>(product<3, 3, 3>({ci, -si, 0, si, ci, 0, 0, 0, 1}, {1, 0, 0, 0, co, -so, 0, so, co}), {cg, 0, sg, 0, 1, 0, -sg, 0, cg});
  const std::array<double, 16> from_source = {turned[0], turned[1], turned[2], -p.source_offset_x, turned[3], turned[4], turned[5], -p.source_offset_y,
                                              turned[6], turned[7], turned[8], 0,                  0,         0,         0,         1};
  const bool parallel = p.source_to_detector == 0.0;
  const double scale = parallel ? 1.0 : -p.source_to_detector;
  const Matrix magnified = {scale, 0, 0, 0, 0, scale, 0, 0, 0, 0, parallel ? 0.0 : 1.0, parallel ? 1.0 : -p.source_to_isocenter};
  const std::array<double, 9> moved = {1, 0, p.source_offset_x - p.projection_offset_x, 0, 1, p.source_offset_y - p.projection_offset_y, 0, 0, 1};
  return product<3, 3, 4>(moved, product<3, 4, 4>(magnified, from_source));
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path) {}

  RtkGeometry read(const pugi::xml_node& root) {
    if (root.name() != std::string_view("RTKThreeDCircularGeometry")) refuse("is not a geometry of RTK", "its root is <RTKThreeDCircularGeometry version=\"3\">");
    const std::string_view version = root.attribute("version").value();
    if (version != "2" && version != "3") refuse("has " + (version.empty() ? "no version" : "version " + shown(version)), "versions 2 and 3 are read; write it again with RTK");
    for (const pugi::xml_node& child : root.children()) {
      if (child.type() == pugi::node_comment) continue;
      if (child.name() == std::string_view("Projection")) read_projection(child);
      else read_value(child);
    }
    if (geometry_.projections.empty()) refuse("holds no <Projection>", "one for each projection of the stack");
    return std::move(geometry_);
  }

  [[noreturn]] void refuse(const std::string& what, const std::string& hint) const {
    throw Error(ErrorKind::kBadData, (place_.empty() ? "" : place_ + " of ") + quoted_path(path_) + " " + what, hint);
  }

 private:
  static std::string shown(std::string_view text) { return quoted_path(std::string(text.substr(0, kLongestText))); }

  void read_projection(const pugi::xml_node& node) {
    place_ = "projection " + std::to_string(geometry_.projections.size() + 1);
    std::optional<Matrix> matrix;
    for (const pugi::xml_node& child : node.children()) {
      if (child.type() == pugi::node_comment) continue;
      if (child.name() == std::string_view("Matrix")) matrix = matrix_of(child);
      else read_value(child);
    }
    if (matrix) require_matrix(*matrix);
    geometry_.projections.push_back(current_);
    place_.clear();
  }

  void read_value(const pugi::xml_node& node) {
    const std::string_view name = node.name();
    if (name.rfind("Collimation", 0) == 0) refuse("has collimation (<" + std::string(name.substr(0, kLongestText)) + ">), which is not read", "crop the projections to what the jaws let through and take it out");
    if (name == "RadiusCylindricalDetector") {
      geometry_.cylinder_radius = number_of(node);
    } else if (const auto found = kNumbers.find(name); found != kNumbers.end()) {
      current_.*found->second = number_of(node);
    } else {
      refuse(name.empty() ? "holds text outside of its elements" : "has an element " + shown(name) + " that is not known", "the elements are those that RTK writes");
    }
  }

  double number_of(const pugi::xml_node& node) const {
    std::string_view rest = text_of(node);
    const double number = next_number(rest, node);
    if (!rest.empty()) refuse("has <" + std::string(node.name()) + "> with more than one number", "give one number");
    return number;
  }

  Matrix matrix_of(const pugi::xml_node& node) const {
    std::string_view rest = text_of(node);
    Matrix matrix;
    for (double& element : matrix) element = next_number(rest, node);
    if (!rest.empty()) refuse("has a <Matrix> of more than 12 numbers", "it is 3x4");
    return matrix;
  }

  std::string_view text_of(const pugi::xml_node& node) const {
    for (const pugi::xml_node& child : node.children())
      if (child.type() == pugi::node_element) refuse("has elements inside of <" + std::string(node.name()) + ">", "give numbers alone");
    return node.text().get();
  }

  /// Takes a number from the front of `rest`, and blanks around it.
  double next_number(std::string_view& rest, const pugi::xml_node& node) const {
    constexpr std::string_view kBlanks = " \t\r\n";
    const auto skip_blanks = [&] { rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size())); };
    skip_blanks();
    const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
    double number = 0.0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(number))
      refuse("has <" + std::string(node.name()) + "> with " + (word.empty() ? "a number missing" : shown(word) + ", which is not a finite number"), "write numbers like 12.5");
    rest.remove_prefix(word.size());
    skip_blanks();
    return number;
  }

  /// What a file says twice must be the same, or one of them is not what was measured.
  void require_matrix(const Matrix& matrix) const {
    const Matrix expected = projection_matrix(current_);
    for (std::size_t i = 0; i < matrix.size(); ++i)
      if (std::abs(matrix[i] - expected[i]) > kMatrixTolerance)
        refuse("has a <Matrix> that is not the one of its parameters: element " + std::to_string(i + 1) + " is " + std::to_string(matrix[i]) + ", the parameters give " + std::to_string(expected[i]),
               "correct one of them, or take the matrix out");
  }

  std::filesystem::path path_;
  std::string place_;      ///< "projection 3"; empty: not in a projection
  RtkProjection current_;  ///< values hold until they change
  RtkGeometry geometry_;
};

}  // namespace

RtkGeometry read_rtk_geometry(const std::filesystem::path& path) {
  Reader reader(path);
  const std::uint64_t size = check_input_file(path);
  if (size > kLargestFile) reader.refuse("is larger than 64 MiB", "give the geometry file of RTK");
  const std::string text = read_head(path, size);
  pugi::xml_document document;
  // Entities that a DOCTYPE declares are not expanded by pugixml, so none can grow.
  const pugi::xml_parse_result result = document.load_buffer(text.data(), text.size(), pugi::parse_default);
  if (!result) reader.refuse("is not XML: " + std::string(result.description()) + " at byte " + std::to_string(result.offset), "write it again with RTK; it may have been cut off");
  return reader.read(document.document_element());
}

}  // namespace postrec
