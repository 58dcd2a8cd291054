#include "pace.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace postrec {

Pace::Pace(double deadline_s, std::function<double()> clock) : deadline_s_(deadline_s), clock_(std::move(clock)), begin_(clock_()) {}

double Pace::seconds_per_level(std::int64_t n_samples) const {
  return sample_levels_ == 0 ? 0.0 : level_seconds_ / static_cast<double>(sample_levels_) * static_cast<double>(n_samples);
}

bool Pace::another_batch(std::int64_t n_samples) {
  return !limited() || sample_levels_ == 0 || left() >= kFewestLevels * seconds_per_level(n_samples);
}

void Pace::begin_batch(std::int64_t n_samples, std::int64_t n_batches) {
  n_samples_ = n_samples;
  level_begin_ = clock_();
  batch_end_ = level_begin_ + left() / static_cast<double>(n_batches);
}

bool Pace::thin(std::vector<double>& levels, std::size_t next) {
  const double level_seconds = seconds_per_level(n_samples_);
  if (!limited() || level_seconds == 0.0) return false;
  const double share = batch_end_ - clock_();
  const double needed = std::min(left(), level_seconds * std::max(0.0, kFewestLevels - static_cast<double>(next)));
  const std::size_t n = levels.size() - next, fit = static_cast<std::size_t>(std::max(1.0, std::floor(std::max(share, needed) / level_seconds)));
  if (fit >= n) return false;
  std::vector<double> kept(levels.begin(), levels.begin() + static_cast<std::ptrdiff_t>(next));
  for (std::size_t i = 0; i < fit; ++i) kept.push_back(levels[next + (fit == 1 ? 0 : (n - 1) * i / (fit - 1))]);
  levels = std::move(kept);
  return true;
}

void Pace::finished_level() {
  const double now = clock_();
  level_seconds_ += now - level_begin_;
  sample_levels_ += n_samples_;
  level_begin_ = now;
}

}  // namespace postrec
