#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

/// Red, green, blue, 0 to 1.
using Colour = std::array<float, 3>;

inline constexpr Colour kBlack{0.1f, 0.1f, 0.1f};
inline constexpr Colour kGrey{0.85f, 0.85f, 0.85f};

/// A white picture to draw on; x to the right and y down, in pixels. What lies outside is cut off.
class Picture {
 public:
  static constexpr std::int64_t kGlyphWidth = 12, kGlyphHeight = 14;

  Picture(std::int64_t width, std::int64_t height);

  void line(double x0, double y0, double x1, double y1, Colour colour);
  /// Its upper left corner at (x, y). Letters (shown in lower case), digits and " .,-+=%()/:"; anything else is a blank.
  void text(std::int64_t x, std::int64_t y, const std::string& words, Colour colour);
  /// An image [C, H, W], C = 1 or 3, its upper left corner at (x, y); `low` is black, `high` white.
  void paste(std::int64_t x, std::int64_t y, const at::Tensor& image, double low, double high);

  /// [3, height, width], 0 to 1.
  const at::Tensor& pixels() const { return pixels_; }
  void write(const std::filesystem::path& png) const;

 private:
  void dot(std::int64_t x, std::int64_t y, Colour colour);

  at::Tensor pixels_;
};

/// One line of a chart.
struct ChartSeries {
  std::string label;
  Colour colour;
  std::vector<double> x;
  std::vector<double> y;
};

/// Where a chart lies, with its labels.
struct ChartBox {
  std::int64_t left = 0, top = 0, width = 0, height = 0;
};

/// Lines over axes with ticks at round numbers; each line's label stands in its colour at the right. Values that are not finite are left out.
void draw_chart(Picture& picture, const ChartBox& box, const std::string& title, const std::vector<ChartSeries>& series);

/// Round numbers (1, 2 or 5 times a power of ten) within [low, high], at most `at_most` of them and at least two when high > low.
std::vector<double> round_ticks(double low, double high, int at_most);

}  // namespace postrec
