#include "training/training_split.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "case/scan_subject.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kThumbnail = 16;
constexpr double kAlikeShare = 0.25;  // of the slices of a scan

std::string pixel_hash(const at::Tensor& image) {
  const at::Tensor whole = image.contiguous();
  return std::to_string(whole.size(1)) + "x" + std::to_string(whole.size(2)) + ":" + sha256_hex(whole.const_data_ptr(), whole.nbytes());
}

// The image [1, H, W] in a square frame with its centre of intensity in the middle: where a head lay in the scanner is no part of the likeness.
at::Tensor centred(const at::Tensor& image) {
  const std::int64_t height = image.size(1), width = image.size(2), side = std::max(height, width);
  const double total = std::max(image.sum(at::kDouble).item<double>(), 1e-30);
  const auto centre = [&](std::int64_t axis, std::int64_t n) {
    const at::Tensor profile = image.sum(at::IntArrayRef({0, 3 - axis}), false, at::kDouble);
    return std::clamp<std::int64_t>(std::llround((profile * at::arange(n, at::kDouble)).sum().item<double>() / total), 0, n - 1);
  };
  const std::int64_t above = side / 2 - centre(1, height), left = side / 2 - centre(2, width);
  return at::constant_pad_nd(image, {left, side - width - left, above, side - height - above});
}

// Unit vector [256]; zero for a flat image, which is like nothing.
at::Tensor thumbnail(const at::Tensor& image) {
  const at::Tensor grey = image.abs().mean(at::IntArrayRef({0}), true);
  const at::Tensor small = at::adaptive_avg_pool2d(centred(grey).unsqueeze(0), {kThumbnail, kThumbnail}).flatten();
  const at::Tensor shape = small - small.mean();
  const double norm = shape.norm().item<double>();
  return norm > 0.0 ? shape / norm : at::zeros_like(shape);
}

at::Tensor thumbnails(const std::vector<TrainingSlice>& slices) {
  std::vector<at::Tensor> rows;
  for (const TrainingSlice& slice : slices) rows.push_back(thumbnail(slice.image));
  return at::stack(rows);
}

struct Likeness {
  bool same = false;
  bool alike = false;
};

}  // namespace

std::map<std::string, std::string> read_subjects(const fs::path& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kNoInput, "cannot open --subjects " + quoted_path(path), "give a table of lines file,subject");
  std::map<std::string, std::string> subjects;
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && line == "file,subject")) continue;
    const auto comma = line.find(',');
    if (comma == 0 || comma == std::string::npos || comma + 1 == line.size() || line.find(',', comma + 1) != std::string::npos)
      throw Error(ErrorKind::kBadData, "line " + std::to_string(number) + " of " + quoted_path(path) + " is not file,subject", "write one file and one subject a line");
    if (!subjects.emplace(line.substr(0, comma), line.substr(comma + 1)).second)
      throw Error(ErrorKind::kBadData, "line " + std::to_string(number) + " of " + quoted_path(path) + " names a file again", "write each file once");
  }
  return subjects;
}

void assign_subjects(std::vector<TrainingSlice>& slices, const std::map<std::string, std::string>& subjects) {
  for (TrainingSlice& slice : slices) {
    auto found = subjects.find(slice.scan);
    if (found == subjects.end()) found = subjects.find(name_of_scan(slice.scan));
    if (found == subjects.end()) throw Error(ErrorKind::kUsage, "--subjects has no line for " + quoted_path(slice.scan), "write file,subject for each scan");
    slice.subject = found->second;
  }
}

TrainingSplit split_by_subject(std::vector<TrainingSlice> slices, double share) {
  std::map<std::string, std::int64_t> counts;
  for (const TrainingSlice& slice : slices) ++counts[slice.subject];
  if (counts.size() < 2)
    throw Error(ErrorKind::kUsage, "the scans are of one subject, who cannot be on both sides of a split", "give scans of others with --validation");
  std::vector<std::pair<std::string, std::string>> order;  // by hash: more scans move few of the others
  for (const auto& [subject, count] : counts) order.emplace_back(sha256_hex(subject.data(), subject.size()), subject);
  std::sort(order.begin(), order.end());
  std::set<std::string> chosen;
  double held = 0.0;
  for (const auto& [hash, subject] : order) {
    if (!chosen.empty() && (held >= share * static_cast<double>(slices.size()) || chosen.size() + 1 == counts.size())) break;
    chosen.insert(subject);
    held += static_cast<double>(counts[subject]);
  }
  TrainingSplit split;
  for (TrainingSlice& slice : slices) (chosen.count(slice.subject) != 0 ? split.validation : split.training).push_back(std::move(slice));
  return split;
}

std::vector<Duplicate> duplicates_across(const TrainingSplit& split) {
  if (split.training.empty() || split.validation.empty()) return {};
  std::map<std::string, std::set<std::string>> scans_by_hash;
  for (const TrainingSlice& slice : split.training) scans_by_hash[pixel_hash(slice.image)].insert(slice.scan);
  const at::Tensor correlation = at::matmul(thumbnails(split.validation), thumbnails(split.training).t()).contiguous();
  const float* row = correlation.const_data_ptr<float>();

  std::map<std::string, std::int64_t> n_slices;
  std::map<std::pair<std::string, std::string>, Duplicate> found;  // validation scan, training scan
  for (std::size_t v = 0; v < split.validation.size(); ++v, row += split.training.size()) {
    const TrainingSlice& slice = split.validation[v];
    ++n_slices[slice.scan];
    std::map<std::string, Likeness> to;
    const auto same = scans_by_hash.find(pixel_hash(slice.image));
    if (same != scans_by_hash.end())
      for (const std::string& scan : same->second) to[scan].same = true;
    for (std::size_t t = 0; t < split.training.size(); ++t)
      if (row[t] > kAlike) to[split.training[t].scan].alike = true;
    for (const auto& [scan, likeness] : to) {
      Duplicate& pair = found[{slice.scan, scan}];
      pair.validation_scan = slice.scan;
      pair.training_scan = scan;
      likeness.same ? ++pair.n_same : ++pair.n_alike;
    }
  }
  std::vector<Duplicate> result;
  for (auto& [names, pair] : found) {
    pair.n_slices = n_slices[pair.validation_scan];
    if (pair.n_same > 0 || static_cast<double>(pair.n_alike) >= kAlikeShare * static_cast<double>(pair.n_slices)) result.push_back(pair);
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> shared_subjects(const TrainingSplit& split) {
  std::map<std::string, std::string> scan_of;
  for (const TrainingSlice& slice : split.training) scan_of.emplace(slice.subject, slice.scan);
  std::vector<std::pair<std::string, std::string>> shared;
  for (const TrainingSlice& slice : split.validation) {
    const auto found = scan_of.find(slice.subject);
    if (found == scan_of.end()) continue;
    shared.emplace_back(found->second, slice.scan);
    scan_of.erase(found);
  }
  return shared;
}

}  // namespace postrec
