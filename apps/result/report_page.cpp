#include "result/report_page.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "report/html.hpp"
#include "report/html_picture.hpp"
#include "report/preview.hpp"
#include "result/report_page_words.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMostSlices = 9, kMostSamples = 8, kMostPixels = 12'000'000;
constexpr std::int64_t kOtherPictures = 6;     // mean, standard deviation, direct, difference, truth, error

constexpr const char* kStyle = R"(
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr));gap:1rem;margin:.8rem 0}
figure{margin:0;background:var(--panel);border:1px solid var(--line);border-radius:.4rem;padding:.6rem}
figure img{display:block;width:100%;height:auto;background:#000}img.coarse{image-rendering:pixelated}
figcaption{font-weight:600;margin-bottom:.4rem}.scale{font-size:.85rem;color:var(--soft);margin:.4rem 0 0}
.signed{display:inline-block;width:5rem;height:.7em;border-radius:.2em;background:linear-gradient(90deg,#2166ac,#fff,#b2182b);border:1px solid var(--line);vertical-align:-.05em}
.simulated{background:var(--bad);color:var(--page);font-weight:700;border-radius:.3rem;padding:.35rem .8rem;max-width:none}
.withheld p{color:var(--bad)}
.slider label{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .8rem;margin:.5rem 0}.slider input{flex:1 1 8rem;min-width:6rem;max-width:30rem;accent-color:var(--accent)}
.slider output{min-width:9rem;font-variant-numeric:tabular-nums}figure .slider output{min-width:4rem}
blockquote{margin:.5rem 0;padding:.6rem 1rem;border-left:4px solid var(--accent);background:var(--panel);max-width:50rem;user-select:all}
@media print{.pictures{grid-template-columns:repeat(3,1fr)}}
)";

/// Turns each [data-frames] into a slider over its .frame children. Boxes of one name go together, so that the same sample shows in every slice.
constexpr const char* kScript = R"(
'use strict';
(function () {
  var groups = {};
  document.querySelectorAll('[data-frames]').forEach(function (box) {
    var frames = Array.prototype.filter.call(box.children, function (child) { return child.classList.contains('frame'); });
    if (frames.length < 2) return;
    var name = box.getAttribute('data-frames');
    var bar = document.createElement('div'), label = document.createElement('label'), input = document.createElement('input'), output = document.createElement('output');
    bar.className = 'slider';
    input.type = 'range';
    input.min = 0;
    input.max = frames.length - 1;
    label.append(name, input, output);
    bar.append(label);
    if (box.closest('figure')) box.append(bar); else box.prepend(bar);
    (groups[name] = groups[name] || []).push(function (at) {
      frames.forEach(function (frame, i) { frame.hidden = i !== at; });
      input.value = at;
      output.textContent = frames[at].getAttribute('data-name');
      input.setAttribute('aria-valuetext', output.textContent);
    });
    input.addEventListener('input', function () { groups[name].forEach(function (show) { show(Number(input.value)); }); });
  });
  document.querySelectorAll('[data-frames]').forEach(function (box) {
    var first = Number(box.getAttribute('data-first') || 0);
    (groups[box.getAttribute('data-frames')] || []).forEach(function (show) { show(first); });
  });
})();
)";

/// One slice with all that its pictures share.
struct SliceView {
  std::int64_t index = 0;                      ///< in the pictures
  std::string number;                          ///< in the input
  std::string unit;
  GreyWindow window;
  bool told = true;                            ///< whether its uncertainty is
  const ReportPictures& pictures;
};

std::string image_tag(const std::string& uri, const at::Tensor& picture, const ImageGeometry& geometry, const std::string& alt, const std::string& more = "") {
  constexpr std::int64_t kCoarse = 128;        // below, smoothing would invent what is between the pixels
  const double width_mm = static_cast<double>(picture.size(2)) * geometry.spacing_mm[0], height_mm = static_cast<double>(picture.size(1)) * geometry.spacing_mm[1];
  return "<img" + more + (picture.size(2) < kCoarse ? " class=\"coarse\"" : "") + " style=\"aspect-ratio:" + number_text(width_mm, "%.6g") + "/" + number_text(height_mm, "%.6g") + "\" alt=\"" + html_escaped(alt) +
         "\" src=\"" + uri + "\">";
}

std::string figure(const std::string& title, const std::string& content, const std::string& scale) {
  return "<figure><figcaption>" + html_escaped(title) + "</figcaption>" + content + "<p class=\"scale\">" + scale + "</p></figure>\n";
}

std::string range_text(GreyWindow window, const std::string& unit) { return html_escaped("black " + number_text(window.low, "%.3g") + ", white " + number_text(window.high, "%.3g") + unit); }

std::string alt_text(const SliceView& view, const std::string& what) {
  const at::Tensor& mean = view.pictures.mean;
  return what + ", slice " + view.number + ", " + std::to_string(mean.size(3)) + " columns, " + std::to_string(mean.size(2)) + " rows";
}

std::string grey_figure(const SliceView& view, const std::string& title, const at::Tensor& slice, GreyWindow window, const std::string& remark = "") {
  const at::Tensor shown = as_shown(slice, view.pictures.geometry);
  return figure(title, image_tag(grey_data_uri(shown, window), shown, view.pictures.geometry, alt_text(view, title)), range_text(window, view.unit) + html_escaped(remark));
}

/// Colour is shown as the mean over its channels: a sign has a place in one number only.
std::string signed_figure(const SliceView& view, const std::string& title, const at::Tensor& difference) {
  const at::Tensor shown = as_shown(difference.mean(0, /*keepdim=*/true), view.pictures.geometry);
  const double extent = grey_window(shown.abs(), IntensityUnit::kArbitrary).high;
  const double rms = std::sqrt(shown.to(at::kDouble).square().mean().item<double>());
  const std::string end = number_text(extent, "%.3g");
  return figure(title, image_tag(signed_data_uri(shown, extent), shown, view.pictures.geometry, alt_text(view, title)),
                "&minus;" + end + " <span class=\"signed\" role=\"img\" aria-label=\"from blue over white to red\"></span> +" + html_escaped(end + view.unit + "; root mean square " + number_text(rms, "%.3g") + view.unit));
}

std::string sample_figure(const SliceView& view, std::int64_t n_shown) {
  const at::Tensor& samples = view.pictures.samples;
  const std::int64_t n = samples.size(0);
  std::string frames = "<div data-frames=\"Sample\">";
  for (std::int64_t k = 0; k < n_shown; ++k) {
    const at::Tensor shown = as_shown(samples[k][view.index], view.pictures.geometry);
    const std::string name = std::to_string(k + 1) + " of " + std::to_string(n);
    frames += "<div class=\"frame\" data-name=\"" + name + "\">" + image_tag(grey_data_uri(shown, view.window), shown, view.pictures.geometry, alt_text(view, "Sample " + name)) + "</div>";
  }
  return figure("Samples", frames + "</div>", range_text(view.window, view.unit) + (n_shown < n ? html_escaped("; the first " + std::to_string(n_shown) + " are shown") : ""));
}

std::string deviation_figure(const SliceView& view, const ordered_json& fit) {
  if (!view.told)
    return "<figure class=\"withheld\"><figcaption>Standard deviation</figcaption><p>Withheld: " + html_escaped(fit.value("reason", "the prior does not fit")) + ".</p></figure>\n";
  const at::Tensor deviation = view.pictures.standard_deviation[view.index];
  return grey_figure(view, "Standard deviation", deviation, grey_window(deviation, IntensityUnit::kArbitrary), "; mean " + number_text(deviation.mean().item<double>(), "%.3g") + view.unit);
}

std::string slice_section(const SliceView& view, const ordered_json& run, std::int64_t n_samples) {
  const ReportPictures& pictures = view.pictures;
  const at::Tensor mean = pictures.mean[view.index], direct = pictures.pseudo_inverse[view.index];
  const auto index = static_cast<std::size_t>(view.index);
  std::string text = "<div class=\"frame\" data-name=\"" + view.number + "\">\n<h3>Slice " + view.number + "</h3>\n";
  if (run["slices"].size() > 1) text += "<p>" + html_escaped(misfit_sentence(mean_chi2(run["slices"][index]))) + "</p>\n";
  text += "<div class=\"pictures\">\n";
  text += grey_figure(view, "Mean", mean, view.window);
  text += deviation_figure(view, run["prior_fit"]["slices"][index]);
  text += sample_figure(view, n_samples);
  text += grey_figure(view, "Direct reconstruction", direct, view.window, "; zero-filled, filtered back-projection or adjoint");
  text += signed_figure(view, "Mean minus direct", mean - direct);
  if (pictures.truth.defined()) {
    text += grey_figure(view, "Truth", pictures.truth[view.index], view.window);
    text += signed_figure(view, "Error: mean minus truth", mean - pictures.truth[view.index]);
  }
  return text + "</div>\n</div>\n";
}

std::vector<bool> told_slices(const ordered_json& run) {
  std::vector<bool> told;
  const auto& withheld = run["prior_fit"]["uncertainty_withheld_in_slices"];
  for (const auto& slice : run["slices"]) told.push_back(std::find(withheld.begin(), withheld.end(), slice["slice"]) == withheld.end());
  return told;
}

std::string slices_section(const ordered_json& run, const ReportPictures& pictures) {
  const std::int64_t n = pictures.mean.size(0), pixels = pictures.mean[0].numel();
  const std::int64_t n_samples = std::min(pictures.samples.size(0), std::clamp<std::int64_t>(kMostPixels / pixels - kOtherPictures, 1, kMostSamples));
  const std::int64_t n_shown = std::min(n, std::clamp<std::int64_t>(kMostPixels / (pixels * (n_samples + kOtherPictures)), 1, kMostSlices));
  const std::int64_t middle = n / 2, first = std::clamp<std::int64_t>(middle - n_shown / 2, 0, n - n_shown);
  const at::Tensor reference = pictures.truth.defined() ? pictures.truth : pictures.mean;
  const std::vector<bool> told = told_slices(run);
  std::string text = "<h2>Pictures</h2>\n<p class=\"soft\">";
  if (n_shown < n) text += "The middle " + std::to_string(n_shown) + " of " + std::to_string(n) + " slices. ";
  text += is_axial(pictures.geometry) ? "The patient's front is on top, the right side on the left.</p>\n" : "As stored: rows from top to bottom.</p>\n";
  text += "<div data-frames=\"Slice\" data-first=\"" + std::to_string(middle - first) + "\">\n";
  for (std::int64_t i = first; i < first + n_shown; ++i)
    text += slice_section({i, run["slices"][static_cast<std::size_t>(i)]["slice"].dump(), unit_suffix(run), grey_window(reference[i], pictures.unit), told[static_cast<std::size_t>(i)], pictures}, run, n_samples);
  return text + "</div>\n";
}

}  // namespace

std::string report_page(const ordered_json& run, const ReportPictures& pictures, const std::string& input_name) {
  HtmlPage page;
  page.title = "PostRec: " + (input_name.empty() ? "reconstruction" : input_name);
  page.style = kStyle;
  page.script = kScript;
  page.body = html_banner() + "<h1>" + html_escaped(input_name.empty() ? "Reconstruction" : input_name) + "</h1>\n";
  if (run["origin"] == "simulated") page.body += "<p class=\"simulated\">SIMULATED: the measurement was computed from an image, not acquired by a scanner</p>\n";
  page.body += slices_section(run, pictures) + findings_section(run) + quality_section(run) + provenance_section(run, input_name) + citation_section(run);
  return html_page(page);
}

}  // namespace postrec
