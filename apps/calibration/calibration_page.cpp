#include "calibration/calibration_page.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "report/html.hpp"
#include "report/picture.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;
using Points = std::vector<std::pair<double, double>>;

/// A small plot: axes with ticks at round numbers, then whatever is drawn into it.
class Plot {
 public:
  Plot(double x0, double x1, double y0, double y1, const std::string& title, const std::string& x_label) : x0_(x0), x1_(x1), y0_(y0), y1_(y1), title_(title) {
    body_ += label((kLeft + kRight) / 2, 13, "middle", title) + label((kLeft + kRight) / 2, kHeight - 8, "middle", x_label);
    for (const double tick : round_ticks(x0, x1, 5)) body_ += label(x_of(tick), kBottom + 13, "middle", number_text(tick));
    for (const double tick : round_ticks(y0, y1, 5)) {
      body_ += label(kLeft - 4, y_of(tick) + 4, "end", number_text(tick));
      body_ += "<line class=\"grid\" x1=\"" + number_text(kLeft) + "\" x2=\"" + number_text(kRight) + "\" y1=\"" + at(y_of(tick)) + "\" y2=\"" + at(y_of(tick)) + "\"/>";
    }
  }

  void area(const Points& upper, const Points& lower) {
    Points outline = upper;
    outline.insert(outline.end(), lower.rbegin(), lower.rend());
    shape("polygon", "band", outline);
  }
  void line(const Points& points, const char* style) { shape("polyline", style, points); }
  void bar(double from, double to, double height) { shape("polygon", "bar", {{from, 0.0}, {from, height}, {to, height}, {to, 0.0}}); }

  std::string svg() const {
    return "<svg viewBox=\"0 0 " + at(kWidth) + " " + at(kHeight) + "\" width=\"" + at(kWidth) + "\" height=\"" + at(kHeight) + "\" role=\"img\" aria-label=\"" + html_escaped(title_) + "\">" + body_ +
           "<rect class=\"frame\" x=\"" + at(kLeft) + "\" y=\"" + at(kTop) + "\" width=\"" + at(kRight - kLeft) + "\" height=\"" + at(kBottom - kTop) + "\"/></svg>";
  }

 private:
  static constexpr double kWidth = 300, kHeight = 210, kLeft = 46, kRight = 290, kTop = 20, kBottom = 174;

  static std::string at(double position) { return number_text(position, "%.1f"); }
  static std::string label(double x, double y, const char* anchor, const std::string& words) {
    return "<text x=\"" + at(x) + "\" y=\"" + at(y) + "\" text-anchor=\"" + anchor + "\">" + html_escaped(words) + "</text>";
  }
  double x_of(double x) const { return kLeft + (x - x0_) / (x1_ - x0_) * (kRight - kLeft); }
  double y_of(double y) const { return kBottom - (y - y0_) / (y1_ - y0_) * (kBottom - kTop); }
  void shape(const char* kind, const char* style, const Points& points) {
    body_ += std::string("<") + kind + " class=\"" + style + "\" points=\"";
    for (const auto& [x, y] : points) body_ += at(x_of(x)) + "," + at(y_of(std::clamp(y, y0_, y1_))) + " ";
    body_ += "\"/>";
  }

  double x0_, x1_, y0_, y1_;
  std::string title_;
  std::string body_;
};

/// Ranks in equal cells, with what even ranks would give.
std::string histogram(const std::vector<std::int64_t>& ranks, std::int64_t n_samples, const std::string& title) {
  constexpr std::int64_t kMostCells = 16;
  const std::int64_t places = n_samples + 1, cells = std::min(kMostCells, places);
  std::vector<double> counts(static_cast<std::size_t>(cells), 0.0), even(counts);
  for (std::int64_t k = 0; k < places; ++k) even[k * cells / places] += static_cast<double>(ranks.size()) / static_cast<double>(places);
  for (const std::int64_t rank : ranks) counts[rank * cells / places] += 1.0;
  double top = 1.0;
  for (std::int64_t i = 0; i < cells; ++i) top = std::max({top, counts[i], even[i]});
  Plot plot(0.0, static_cast<double>(places), 0.0, 1.1 * top, title, "rank of the truth among " + std::to_string(n_samples) + " samples");
  const auto edge = [&](std::int64_t i) { return static_cast<double>((i * places + cells - 1) / cells); };  // the first rank of cell i
  for (std::int64_t i = 0; i < cells; ++i) {
    plot.bar(edge(i), edge(i + 1), counts[i]);
    plot.line({{edge(i), even[i]}, {edge(i + 1), even[i]}}, "right");
  }
  return plot.svg();
}

/// ECDF minus the even one, with the band.
std::string ecdf_difference(const std::vector<std::int64_t>& ranks, const ordered_json& band, bool inside) {
  const auto lower = band["lower"].get<std::vector<std::int64_t>>(), upper = band["upper"].get<std::vector<std::int64_t>>();
  const double n = static_cast<double>(ranks.size()), places = static_cast<double>(lower.size() + 1);
  Points low{{0, 0}}, high{{0, 0}}, found{{0, 0}};
  double extent = 0.01;
  for (std::size_t k = 1; k <= lower.size(); ++k) {
    const double x = static_cast<double>(k) / places;
    const auto below = static_cast<double>(std::count_if(ranks.begin(), ranks.end(), [&](std::int64_t rank) { return rank < static_cast<std::int64_t>(k); }));
    low.emplace_back(x, static_cast<double>(lower[k - 1]) / n - x);
    high.emplace_back(x, static_cast<double>(upper[k - 1]) / n - x);
    found.emplace_back(x, below / n - x);
    extent = std::max({extent, std::abs(low.back().second), std::abs(high.back().second), std::abs(found.back().second)});
  }
  for (Points* points : {&low, &high, &found}) points->emplace_back(1.0, 0.0);
  Plot plot(0.0, 1.0, -1.1 * extent, 1.1 * extent, inside ? "ECDF difference: inside" : "ECDF difference: OUTSIDE", "fractional rank");
  plot.area(high, low);
  plot.line(found, inside ? "found" : "wrong");
  return plot.svg();
}

std::string coverage_curve(const ordered_json& figures) {
  Plot plot(0.4, 1.0, 0.0, 1.0, "coverage of intervals", "level (blue: pixels, orange: regions, line: right)");
  plot.line({{0.4, 0.4}, {1.0, 1.0}}, "right");
  for (const auto& [what, style] : {std::pair{"coverage of pixels", "found"}, {"coverage of regions", "wrong"}}) {
    Points points;
    for (const auto& figure : figures)
      if (figure["name"].get<std::string>().starts_with(what)) points.emplace_back(figure["right"].get<double>(), figure["value"].get<double>());
    plot.line(points, style);
    for (const auto& [x, y] : points) plot.line({{x - 0.006, y}, {x + 0.006, y}}, style);
  }
  return plot.svg();
}

std::string cell(const ordered_json& value) { return value.is_number() ? number_text(value.get<double>(), "%.3f") : "-"; }

std::string figure_table(const ordered_json& figures) {
  std::string table = "<table><thead><tr><th></th><th>found</th><th>standard error</th><th>right</th><th>tolerance</th><th>verdict</th></tr></thead>\n";
  for (const auto& figure : figures)
    table += "<tr><td>" + html_escaped(figure["name"]) + "</td><td>" + cell(figure["value"]) + "</td><td>" + cell(figure["standard_error"]) + "</td><td>" + cell(figure["right"]) + "</td><td>" +
             cell(figure["tolerance"]) + "</td><td>" + html_escaped(figure["verdict"]) + "</td></tr>\n";
  return table + "</table>\n";
}

/// The command holds paths of the user's; certificate.json has it.
std::string settings_table(const ordered_json& certificate) {
  std::string table = "<table>\n";
  for (const auto& [key, value] : certificate.items())
    if (key != "findings" && key != "command") table += "<tr><td>" + html_escaped(key) + "</td><td><code>" + html_escaped(value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, ordered_json::error_handler_t::replace)) + "</code></td></tr>\n";
  return table + "</table>\n";
}

constexpr const char* kStyle = R"(
ul{columns:15rem auto;max-width:60rem}.verdict{font-size:1.4rem;font-weight:700}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(35rem,100%),1fr));gap:1rem;margin:.8rem 0}
.pair{display:flex;flex-wrap:wrap;gap:.4rem;background:var(--panel);border:1px solid var(--line);border-radius:.4rem;padding:.4rem;break-inside:avoid}.pair svg{flex:1 1 16rem;max-width:24rem;height:auto}
svg text{font:11px sans-serif;fill:var(--text)}.grid{stroke:var(--line)}.frame{fill:none;stroke:var(--soft)}.band{fill:var(--band);stroke:none}.bar{fill:var(--bar);stroke:var(--panel)}
.right{fill:none;stroke:var(--soft);stroke-dasharray:4 3}.found{fill:none;stroke:var(--accent);stroke-width:1.6}.wrong{fill:none;stroke:var(--bad);stroke-width:1.6}
)";

}  // namespace

std::string calibration_page(const ordered_json& certificate) {
  const auto& findings = certificate["findings"];
  const auto& band = findings["ranks"];
  std::string page = html_banner() + "<h1>Calibration of a posterior sampler</h1>\n<p class=\"verdict\">" + html_escaped(findings["verdict"]) + "</p>\n<p>" + html_escaped(findings["explanation"]) + "</p>\n";
  if (!findings["because"].empty()) {
    page += "<p>Because of:</p><ul>\n";
    for (const auto& name : findings["because"]) page += "<li>" + html_escaped(name) + "</li>\n";
    page += "</ul>\n";
  }
  page += "<h2>Figures</h2>\n" + figure_table(findings["figures"]);
  page += "<p>Each is 1, or the level, for samples that can be exchanged with the truth. A figure is wrong when it is off by more than its tolerance and more than three standard errors (of few replicates or persons more, by Student's t; slices of a person count together); "
          "while these exceed the tolerance there are not enough replicates. Chi-square of the data: |y - A x|&sup2;/(m sigma_y&sup2;) of the samples. Chi-square of the error: squared error of the "
          "samples' mean over (1 + 1/N) times their variance, of A x (row space) and of the part of x that the data say little about (null space).</p>\n";
  page += coverage_curve(findings["figures"]);
  page += "<h2>Ranks</h2>\n<p>Where the truth stands among its samples: even when calibrated, a U when over-confident, a hill when under-confident, a slope when biased. The bands hold all " +
          std::to_string(band["quantities"].size()) + " quantities together with probability " + number_text(1.0 - band["false_alarm_together"].get<double>()) +
          "" + (findings["ranks_are_judged"].get<bool>() ? std::string() : ", if truths are independent, which slices of scans are not: of scans they judge nothing") + ". Each would find standard deviations of " + number_text(band["noticed_spread"], "%.2g") + " of the right ones with probability " + number_text(band["power"], "%.2g") + ".</p>\n";
  page += "<div class=\"plots\">\n";
  for (const auto& quantity : band["quantities"]) {
    const auto ranks = quantity["ranks"].get<std::vector<std::int64_t>>();
    page += "<div class=\"pair\">" + histogram(ranks, band["samples"], quantity["name"]) + ecdf_difference(ranks, band, quantity["inside"]) + "</div>\n";
  }
  page += "</div>\n<h2>How</h2>\n" + settings_table(certificate);
  return html_page({"PostRec calibration", page, kStyle});
}

}  // namespace postrec
