#include "result/report_page_words.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "postrec/sampler.hpp"
#include "report/html.hpp"
#include "report/report_page_names.hpp"
#include "result/questions.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

std::string paragraph(const std::string& words, const char* style = "") { return "<p" + (*style ? " class=\"" + std::string(style) + "\"" : "") + ">" + html_escaped(words) + "</p>\n"; }
std::string row(const std::string& name, const std::string& value) { return "<tr><th scope=\"row\">" + html_escaped(name) + "</th><td>" + html_escaped(value) + "</td></tr>\n"; }
std::string number_or_dash(const ordered_json& value, const char* format) { return value.is_number() ? number_text(value.get<double>(), format) : "-"; }
std::string plural(std::int64_t n, const std::string& word) { return std::to_string(n) + " " + word + (n == 1 ? "" : "s"); }
/// Of an object, "" where there is none.
std::string text_at(const ordered_json& object, const char* key) { return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : ""; }

std::string percent(const ordered_json& share) { return share.is_number() ? number_text(100.0 * share.get<double>(), "%.0f") + " %" : "an unknown share"; }

bool any_uncertainty(const ordered_json& run) { return run["prior_fit"]["uncertainty_withheld_in_slices"].size() < run["slices"].size(); }

std::string coverage_words(const ordered_json& run) {
  if (!any_uncertainty(run)) return "";
  if (!run.contains("quality") || !run["quality"].contains("interval_coverage"))
    return paragraph("Intervals are made to hold the true value with probability " + number_text(run["interval_level"].get<double>(), "%.2f") +
                     " if prior, operator and noise are right. Without a truth nobody can count it; postrec calibrate does on scans whose truth is known.");
  const auto& coverage = run["quality"]["interval_coverage"];
  std::string words = "Inside their intervals lie " + percent(coverage["object"]) + " of the object's true pixel values; " + percent(coverage["expected"]) + " would be right.";
  if (run["quality"].contains("spread_over_error") && run["quality"]["spread_over_error"]["object"].is_number()) {
    const double ratio = run["quality"]["spread_over_error"]["object"].get<double>();
    words += " The spread of the samples is " + number_text(ratio, "%.2f") + " times the error of their mean" + (ratio > 1.15 ? ": too careful." : ratio < 0.87 ? ": too sure." : ", as it should be.");
  }
  return paragraph(words);
}

std::string region_table(const ordered_json& run) {
  if (!run.contains("regions")) return "";
  const std::string unit = unit_suffix(run);
  std::string table = "<table><thead><tr><th>region</th><th>voxels</th><th>mean</th><th>standard deviation</th><th>interval</th><th>other</th></tr></thead>\n";
  for (const auto& region : run["regions"]) {
    std::string interval = "withheld", deviation = "withheld", other;
    if (region.contains("lower")) {
      deviation = number_or_dash(region["standard_deviation"], "%.4g") + unit;
      interval = number_or_dash(region["lower"], "%.4g") + " to " + number_or_dash(region["upper"], "%.4g") + unit + " (" + percent(region["level"]) + ")";
    }
    if (region.contains("probability_above"))
      for (const auto& [threshold, probability] : region["probability_above"].items()) other += "above " + threshold + unit + " with probability " + number_or_dash(probability, "%.2f") + ". ";
    if (region.contains("truth")) other += "Truth: " + number_or_dash(region["truth"], "%.4g") + unit + ".";
    table += "<tr><td>" + html_escaped(region["name"]) + "</td><td>" + region["voxels"].dump() + "</td><td>" + number_or_dash(region["mean"], "%.4g") + (region["mean"].is_number() ? unit : " (not finished)") +
             "</td><td>" + deviation + "</td><td>" + interval + "</td><td>" + html_escaped(other) + "</td></tr>\n";
  }
  std::string warnings;
  for (const auto& region : run["regions"])
    if (const std::string empty = empty_region_text(region); !empty.empty()) warnings += paragraph(empty + ".", "bad");
  return "<h3>Regions</h3>\n" + table + "</table>\n" + warnings;
}

std::string parameter_text(const ordered_json& value) {
  if (value.is_object() && value.contains("shape")) {
    std::string shape;
    for (const auto& size : value["shape"]) shape += (shape.empty() ? "" : " x ") + size.dump();
    return "array of " + shape;
  }
  if (value.is_array()) return plural(static_cast<std::int64_t>(value.size()), "number");
  return value.is_string() ? without_paths(value.get<std::string>(), {}) : value.is_number_float() ? number_text(value.get<double>(), "%.6g") : value.dump();
}

std::string parameters_text(const ordered_json& parameters) {
  std::string text;
  for (const auto& [key, value] : parameters.items()) text += (text.empty() ? "" : ", ") + key + " " + parameter_text(value);
  return text;
}

/// How many each slice walked, the fewest and the most where they differ.
std::string levels_text(const ordered_json& run) {
  std::int64_t fewest = std::numeric_limits<std::int64_t>::max(), most = 0;
  for (const auto& slice : run["slices"]) {
    const auto n = static_cast<std::int64_t>(slice["sigmas"].size());
    fewest = std::min(fewest, n);
    most = std::max(most, n);
  }
  return (fewest < most ? std::to_string(fewest) + " to " : "") + plural(most, "noise level");
}

std::string sampler_text(const ordered_json& run) {
  const auto& sampler = run["sampler"];
  std::string text = sampler["method"].get<std::string>();
  if (const std::string solver = text_at(sampler, "solver"); !solver.empty()) text += " with " + solver;
  text += ", " + levels_text(run);
  for (const auto& [key, value] : sampler["settings"].items()) text += ", " + key + " " + value.dump();
  return text;
}

/// "[Song 2023, algorithm 1]" of the method that was used.
std::string method_source(const std::string& method) {
  for (const SamplerInfo& info : sampling_methods())
    if (info.name == method) return " " + info.source;
  return "";
}

}  // namespace

std::string unit_suffix(const ordered_json& run) { return run["unit"] == "hu" ? " HU" : " a.u."; }

double mean_chi2(const ordered_json& slice) {
  double sum = 0.0;
  for (const auto& value : slice["reduced_chi2"]) sum += value.is_number() ? value.get<double>() : std::nan("");
  return sum / static_cast<double>(slice["reduced_chi2"].size());
}

std::string misfit_sentence(double reduced_chi2) {
  if (!std::isfinite(reduced_chi2)) return "The misfit of the data is not a number.";
  const std::string figure = number_text(reduced_chi2, "%.2f");
  if (std::abs(reduced_chi2 - 1.0) <= 0.1) return "The misfit of the data is as large as the noise says: " + figure + " (reduced chi-square, 1 is right).";
  return "The misfit of the data is " + figure + " times what the noise says (reduced chi-square, 1 is right): " +
         (reduced_chi2 > 1.0 ? "there is more noise than sigma_y says, or something that the prior does not know." : "there is less noise than sigma_y says, or the samples follow the noise.");
}

std::string findings_section(const ordered_json& run) {
  double chi2 = 0.0;
  for (const auto& slice : run["slices"]) chi2 += mean_chi2(slice) / static_cast<double>(run["slices"].size());
  std::string text = "<h2>What the figures say</h2>\n" + paragraph(misfit_sentence(chi2));
  const std::string distrust = distrust_text(run["prior_fit"]);
  text += distrust.empty() ? paragraph("Nothing in the measurement speaks against the prior. That proves little: the prior may still be wrong where the measurement is blind.")
                           : paragraph("Do not trust the uncertainty: " + distrust + ".", "bad");
  if (run["interrupted"].get<bool>()) text += paragraph("The run was interrupted: what is here was finished before.", "bad");
  text += coverage_words(run) + region_table(run);
  if (!run["notes"].empty()) {
    text += "<h3>Notes</h3>\n<ul>\n";
    for (const auto& note : run["notes"]) text += "<li>" + html_escaped(without_paths(note.get<std::string>(), {})) + "</li>\n";
    text += "</ul>\n";
  }
  return text;
}

std::string quality_section(const ordered_json& run) {
  if (!run.contains("quality")) return "";
  const auto& quality = run["quality"];
  std::string text = "<h2>Against the truth</h2>\n<table><thead><tr><th></th><th>PSNR</th><th>SSIM</th><th>NRMSE</th></tr></thead>\n";
  for (const auto& [key, title] : {std::pair{"mean", "posterior mean"}, {"one_sample", "one sample"}, {"pseudo_inverse", "direct reconstruction"}})
    if (quality.contains(key))
      text += "<tr><th scope=\"row\">" + std::string(title) + "</th><td>" + number_or_dash(quality[key]["psnr_db"], "%.2f") + " dB</td><td>" + number_or_dash(quality[key]["ssim"], "%.3f") + "</td><td>" +
              number_or_dash(quality[key]["nrmse"], "%.3f") + "</td></tr>\n";
  return text + "</table>\n" + paragraph("Means over slices. A sample has the error of the mean and its own spread, so a good one is about 3 dB below the mean.", "soft");
}

std::string provenance_section(const ordered_json& run, const std::string& input_name) {
  const auto& program = run["program"];
  const auto& op = run["operator"];
  const auto& sampler = run["sampler"];
  const auto& prior = run["prior"];
  std::string table = "<h2>Provenance</h2>\n<table>\n";
  if (!input_name.empty()) table += row("input", input_name);
  table += row("measurement", run["origin"] == "simulated" ? "SIMULATED: computed from an image, not acquired by a scanner" : "acquired");
  table += row("program", "postrec " + text_at(program, "version") + ", LibTorch " + text_at(program, "libtorch") + ", finished " + text_at(run, "finished"));
  table += row("operator", text_at(op, "name") + ": " + parameters_text(op["parameters"]));
  table += row("plugin", text_at(op["plugin"], "id") + " " + text_at(op["plugin"], "version") + ", sha256 " + text_at(op["plugin"], "sha256"));
  table += row("noise", "sigma_y " + number_or_dash(run["sigma_y"]["value"], "%.4g") + " in the unit of the measurement (" + without_paths(text_at(run["sigma_y"], "source"), {}) + ")");
  table += row("prior", text_at(prior, "name") + ", sha256 " + text_at(prior, "sha256"));
  table += row("prior trained on", text_at(prior, "trained_on") + " (licence: " + text_at(prior, "licence") + ")");
  table += row("sampler", sampler_text(run));
  table += row("samples", std::to_string(run["samples_kept"].get<std::int64_t>()) + " of each of " + plural(static_cast<std::int64_t>(run["slices"].size()), "slice") + ", seed " + sampler["seed"].dump());
  table += row("cost", number_text(run["nfe"].get<double>() / static_cast<double>(run["slices"].size()), "%.4g") + " evaluations of the prior for each sample of a slice, " + number_or_dash(run["seconds"], "%.1f") + " s on " + text_at(run, "device") + " with " +
                           plural(run["threads"].get<std::int64_t>(), "thread"));
  return table + "</table>\n" + paragraph("run.json beside this page holds all of it, enough to repeat the run.", "soft");
}

std::string citation_section(const ordered_json& run) {
  const auto& op = run["operator"];
  const auto& sampler = run["sampler"];
  const std::string method = text_at(sampler, "method");
  std::string text = "Images were reconstructed with PostRec " + text_at(run["program"], "version") + " (LibTorch " + text_at(run["program"], "libtorch") + ", research software) by sampling the posterior of the image given the ";
  text += run["origin"] == "simulated" ? "measurement, which was simulated. " : "measurement. ";
  text += "The measurement was modelled by the operator " + text_at(op, "name") + " (" + text_at(op["plugin"], "id") + " " + text_at(op["plugin"], "version") + ") with noise of standard deviation " +
          number_or_dash(run["sigma_y"]["value"], "%.4g") + " per real component. The prior was " + text_at(run["prior"], "name") + " (sha256 " + text_at(run["prior"], "sha256").substr(0, 12) + "), trained on " +
          text_at(run["prior"], "trained_on") + ". Of each slice " + plural(run["samples_kept"].get<std::int64_t>(), "sample") + " were drawn by the method " + method + method_source(method) + " with " +
          levels_text(run) + " (seed " + sampler["seed"].dump() + "); shown are their mean";
  text += any_uncertainty(run) ? ", their standard deviation, and intervals of probability " + number_text(run["interval_level"].get<double>(), "%.2f") + "." : ". Their spread is not reported because the prior does not fit.";
  return "<h2>To cite</h2>\n" + paragraph("For a methods section. Keys in brackets are resolved in core/README.md of PostRec.", "soft") + "<blockquote>" + html_escaped(text) + "</blockquote>\n";
}

}  // namespace postrec
