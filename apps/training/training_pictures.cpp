#include "training/training_pictures.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>

#include "report/picture.hpp"
#include "report/preview.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kWidth = 1000, kChartHeight = 400;
constexpr std::int64_t kGap = 6, kLabelWidth = 170;
constexpr double kShownOverMedian = 3.0;
constexpr Colour kLineColours[] = {{0.12f, 0.35f, 0.70f}, {0.85f, 0.40f, 0.05f}, {0.10f, 0.55f, 0.25f}, {0.55f, 0.25f, 0.65f}};

std::string labelled(const char* word, double sigma) {
  char text[48];
  std::snprintf(text, sizeof(text), "%s %g", word, sigma);
  return text;
}

// One wild step in a thousand would press the rest of the curve flat.
double largest_shown_loss(const std::vector<TrainingRecord>& records) {
  std::vector<double> losses;
  for (const TrainingRecord& record : records) losses.push_back(record.loss);
  if (losses.empty()) return 0.0;
  const auto middle = losses.begin() + static_cast<std::ptrdiff_t>(losses.size() / 2);
  std::nth_element(losses.begin(), middle, losses.end());
  return kShownOverMedian * *middle;
}

at::Tensor shown(const at::Tensor& images) { return images.is_complex() ? images.abs() : images; }

}  // namespace

void write_curve(const std::filesystem::path& png, const std::vector<TrainingRecord>& records) {
  const double largest = largest_shown_loss(records);
  ChartSeries loss{"loss", kLineColours[0], {}, {}};
  std::map<double, ChartSeries> psnr;
  for (const TrainingRecord& record : records) {
    loss.x.push_back(static_cast<double>(record.step));
    loss.y.push_back(std::min(record.loss, largest));
    for (const auto& [sigma, value] : record.psnr_db) {
      auto found = psnr.find(sigma);
      if (found == psnr.end()) found = psnr.emplace(sigma, ChartSeries{labelled("sigma", sigma), kLineColours[psnr.size() % std::size(kLineColours)], {}, {}}).first;
      found->second.x.push_back(static_cast<double>(record.step));
      found->second.y.push_back(value);
    }
  }
  std::vector<ChartSeries> curves;
  for (auto& [sigma, series] : psnr) curves.push_back(std::move(series));
  Picture picture(kWidth, 2 * kChartHeight);
  draw_chart(picture, {0, 0, kWidth, kChartHeight}, "training loss (1 = linear denoiser; cut at 3 medians) over steps", {loss});
  draw_chart(picture, {0, kChartHeight, kWidth, kChartHeight}, "validation psnr in db over steps", curves);
  picture.write(png);
}

void write_sample_sheet(const std::filesystem::path& png, const at::Tensor& clean, const std::vector<DenoisingCheck::Row>& rows) {
  std::vector<std::pair<std::string, at::Tensor>> lines = {{"clean", shown(clean)}};
  for (const DenoisingCheck::Row& row : rows) {
    lines.emplace_back(labelled("noisy", row.sigma), shown(row.noisy));
    lines.emplace_back(labelled("denoised", row.sigma), shown(row.denoised));
  }
  const std::int64_t n = clean.size(0), height = clean.size(2), width = clean.size(3);
  const std::int64_t pitch = std::max(height, Picture::kGlyphHeight) + kGap;
  Picture picture(kLabelWidth + n * (width + kGap), static_cast<std::int64_t>(lines.size()) * pitch + kGap);
  for (std::size_t line = 0; line < lines.size(); ++line) {
    const std::int64_t y = kGap + static_cast<std::int64_t>(line) * pitch;
    picture.text(kGap, y + (height - Picture::kGlyphHeight) / 2, lines[line].first, kBlack);
    for (std::int64_t i = 0; i < n; ++i) {
      const GreyWindow window = grey_window(lines[0].second[i], IntensityUnit::kArbitrary);
      picture.paste(kLabelWidth + i * (width + kGap), y, lines[line].second[i], window.low, window.high);
    }
  }
  picture.write(png);
}

}  // namespace postrec
