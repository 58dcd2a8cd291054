#include "report/picture.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <limits>

#include "postrec/data/write_image.hpp"

namespace postrec {
namespace {

/// Five columns of seven pixels, the lowest bit on top.
struct Glyph {
  char letter;
  std::array<unsigned char, 5> columns;
};

constexpr Glyph kGlyphs[] = {
    {'0', {0x3e, 0x41, 0x41, 0x41, 0x3e}}, {'1', {0x00, 0x42, 0x7f, 0x40, 0x00}}, {'2', {0x62, 0x51, 0x49, 0x49, 0x46}},
    {'3', {0x22, 0x41, 0x49, 0x49, 0x36}}, {'4', {0x18, 0x14, 0x12, 0x7f, 0x10}}, {'5', {0x2f, 0x49, 0x49, 0x49, 0x31}},
    {'6', {0x3e, 0x49, 0x49, 0x49, 0x32}}, {'7', {0x01, 0x71, 0x09, 0x05, 0x03}}, {'8', {0x36, 0x49, 0x49, 0x49, 0x36}},
    {'9', {0x26, 0x49, 0x49, 0x49, 0x3e}}, {'a', {0x20, 0x54, 0x54, 0x54, 0x78}}, {'b', {0x7f, 0x44, 0x44, 0x44, 0x38}},
    {'c', {0x38, 0x44, 0x44, 0x44, 0x28}}, {'d', {0x38, 0x44, 0x44, 0x44, 0x7f}}, {'e', {0x38, 0x54, 0x54, 0x54, 0x58}},
    {'f', {0x04, 0x7e, 0x05, 0x05, 0x00}}, {'g', {0x18, 0xa4, 0xa4, 0xa4, 0x7c}}, {'h', {0x7f, 0x04, 0x04, 0x04, 0x78}},
    {'i', {0x00, 0x44, 0x7d, 0x40, 0x00}}, {'j', {0x40, 0x80, 0x84, 0x7d, 0x00}}, {'k', {0x7f, 0x10, 0x10, 0x28, 0x44}},
    {'l', {0x00, 0x41, 0x7f, 0x40, 0x00}}, {'m', {0x7c, 0x04, 0x78, 0x04, 0x78}}, {'n', {0x7c, 0x08, 0x04, 0x04, 0x78}},
    {'o', {0x38, 0x44, 0x44, 0x44, 0x38}}, {'p', {0xfc, 0x24, 0x24, 0x24, 0x18}}, {'q', {0x18, 0x24, 0x24, 0x24, 0xfc}},
    {'r', {0x7c, 0x08, 0x04, 0x04, 0x08}}, {'s', {0x48, 0x54, 0x54, 0x54, 0x24}}, {'t', {0x04, 0x3f, 0x44, 0x44, 0x20}},
    {'u', {0x3c, 0x40, 0x40, 0x40, 0x7c}}, {'v', {0x1c, 0x20, 0x40, 0x20, 0x1c}}, {'w', {0x3c, 0x40, 0x30, 0x40, 0x3c}},
    {'x', {0x44, 0x28, 0x10, 0x28, 0x44}}, {'y', {0x1c, 0xa0, 0xa0, 0xa0, 0x7c}}, {'z', {0x44, 0x64, 0x54, 0x4c, 0x44}},
    {'.', {0x00, 0x60, 0x60, 0x00, 0x00}}, {',', {0x00, 0x80, 0x60, 0x00, 0x00}}, {'-', {0x08, 0x08, 0x08, 0x08, 0x08}},
    {'+', {0x08, 0x08, 0x3e, 0x08, 0x08}}, {'=', {0x14, 0x14, 0x14, 0x14, 0x14}}, {'%', {0x63, 0x13, 0x08, 0x64, 0x63}},
    {'(', {0x00, 0x3e, 0x41, 0x00, 0x00}}, {')', {0x00, 0x00, 0x41, 0x3e, 0x00}}, {'/', {0x60, 0x10, 0x08, 0x04, 0x03}},
    {':', {0x00, 0x36, 0x36, 0x00, 0x00}}, {';', {0x00, 0x80, 0x76, 0x00, 0x00}}};
constexpr std::int64_t kDot = 2;  // pixels of the picture to one of a glyph
constexpr std::int64_t kLeftMargin = 90, kRightMargin = 150, kTopMargin = 30, kBottomMargin = 34;
constexpr double kSpikeShare = 0.02;  // of the largest values, which would press the rest flat

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
};

Range widened(Range range) {
  if (!(range.low <= range.high)) return {0.0, 1.0};
  if (range.low == range.high) return {range.low - 0.5, range.high + 0.5};
  const double margin = 0.04 * (range.high - range.low);
  return {range.low - margin, range.high + margin};
}

Range x_range(const std::vector<ChartSeries>& series) {
  Range range;
  for (const ChartSeries& one : series)
    for (const double x : one.x) range = {std::min(range.low, x), std::max(range.high, x)};
  return widened(range);
}

Range y_range(const std::vector<ChartSeries>& series) {
  Range range;
  for (const ChartSeries& one : series) {
    std::vector<double> values;
    for (const double y : one.y)
      if (std::isfinite(y)) values.push_back(y);
    if (values.empty()) continue;
    std::sort(values.begin(), values.end());
    const auto spikes = static_cast<std::size_t>(kSpikeShare * static_cast<double>(values.size()));
    range = {std::min(range.low, values.front()), std::max(range.high, values[values.size() - 1 - spikes])};
  }
  return widened(range);
}

std::string tick_text(double value) {
  char text[32];
  if (value >= 10000.0 && std::fmod(value, 1000.0) == 0.0) {
    std::snprintf(text, sizeof(text), "%gk", value / 1000.0);
  } else {
    std::snprintf(text, sizeof(text), "%g", value);
  }
  return text;
}

}  // namespace

Picture::Picture(std::int64_t width, std::int64_t height) : pixels_(at::ones({3, height, width}, at::kFloat)) {}

void Picture::dot(std::int64_t x, std::int64_t y, Colour colour) {
  const std::int64_t height = pixels_.size(1), width = pixels_.size(2);
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  float* plane = pixels_.data_ptr<float>() + y * width + x;
  for (const float part : colour) {
    *plane = part;
    plane += height * width;
  }
}

void Picture::line(double x0, double y0, double x1, double y1, Colour colour) {
  const double length = std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1.0});
  for (double i = 0.0; i <= length; ++i)
    dot(std::llround(x0 + (x1 - x0) * i / length), std::llround(y0 + (y1 - y0) * i / length), colour);
}

void Picture::text(std::int64_t x, std::int64_t y, const std::string& words, Colour colour) {
  for (const char c : words) {
    const auto* glyph = std::find_if(std::begin(kGlyphs), std::end(kGlyphs), [&](const Glyph& g) { return g.letter == std::tolower(static_cast<unsigned char>(c)); });
    for (std::int64_t i = 0; glyph != std::end(kGlyphs) && i < 5 * kDot * 8 * kDot; ++i) {
      const std::int64_t column = i % (5 * kDot), row = i / (5 * kDot);
      if (glyph->columns[column / kDot] >> (row / kDot) & 1) dot(x + column, y + row, colour);
    }
    x += kGlyphWidth;
  }
}

void Picture::paste(std::int64_t x, std::int64_t y, const at::Tensor& image, double low, double high) {
  const at::Tensor shown = ((image.detach().to(at::kCPU, at::kFloat) - low) / (high - low)).clamp(0.0, 1.0);
  const std::int64_t bottom = std::min(y + shown.size(1), pixels_.size(1)), right = std::min(x + shown.size(2), pixels_.size(2));
  if (x < 0 || y < 0 || y >= bottom || x >= right) return;
  pixels_.slice(1, y, bottom).slice(2, x, right).copy_(shown.slice(1, 0, bottom - y).slice(2, 0, right - x).expand({3, -1, -1}));
}

void Picture::write(const std::filesystem::path& png) const { write_png(png, pixels_, 0.0, 1.0); }

std::vector<double> round_ticks(double low, double high, int at_most) {
  double step = std::pow(10.0, std::floor(std::log10((high - low) / at_most)));
  const double factors[] = {2.0, 2.5, 2.0};  // 1, 2, 5, 10
  for (int i = 0; std::floor(high / step + 1e-9) - std::ceil(low / step - 1e-9) + 1 > at_most; ++i) step *= factors[i % 3];
  std::vector<double> ticks;
  for (double k = std::ceil(low / step - 1e-9); k <= std::floor(high / step + 1e-9); ++k) ticks.push_back(k * step + 0.0);  // no -0
  return ticks;
}

void draw_chart(Picture& picture, const ChartBox& box, const std::string& title, const std::vector<ChartSeries>& series) {
  const Range horizontal = x_range(series), vertical = y_range(series);
  const double left = static_cast<double>(box.left + kLeftMargin), right = static_cast<double>(box.left + box.width - kRightMargin);
  const double top = static_cast<double>(box.top + kTopMargin), bottom = static_cast<double>(box.top + box.height - kBottomMargin);
  const auto place_x = [&](double x) { return left + (right - left) * (x - horizontal.low) / (horizontal.high - horizontal.low); };
  const auto place_y = [&](double y) { return std::clamp(bottom - (bottom - top) * (y - vertical.low) / (vertical.high - vertical.low), top, bottom); };

  picture.text(box.left + kLeftMargin, box.top + 6, title, kBlack);
  for (const double x : round_ticks(horizontal.low, horizontal.high, 8)) {
    const std::string words = tick_text(x);
    picture.line(place_x(x), top, place_x(x), bottom, kGrey);
    picture.text(std::llround(place_x(x)) - static_cast<std::int64_t>(words.size()) * Picture::kGlyphWidth / 2, std::llround(bottom) + 8, words, kBlack);
  }
  for (const double y : round_ticks(vertical.low, vertical.high, 7)) {
    const std::string words = tick_text(y);
    picture.line(left, place_y(y), right, place_y(y), kGrey);
    picture.text(std::llround(left) - 8 - static_cast<std::int64_t>(words.size()) * Picture::kGlyphWidth, std::llround(place_y(y)) - Picture::kGlyphHeight / 2, words, kBlack);
  }
  picture.line(left, top, left, bottom, kBlack);
  picture.line(left, bottom, right, bottom, kBlack);
  for (const ChartSeries& one : series) {
    double from_x = 0.0, from_y = 0.0;
    bool begun = false;
    for (std::size_t i = 0; i < one.x.size(); ++i) {
      if (!std::isfinite(one.y[i])) continue;
      const double x = place_x(one.x[i]), y = place_y(one.y[i]);
      for (const double thick : {0.0, 1.0}) picture.line(begun ? from_x : x, (begun ? from_y : y) + thick, x, y + thick, one.colour);
      from_x = x;
      from_y = y;
      begun = true;
    }
    if (begun) picture.text(std::llround(from_x) + 8, std::llround(from_y) - Picture::kGlyphHeight / 2, one.label, one.colour);
  }
}

}  // namespace postrec
