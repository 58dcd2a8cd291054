#include "pace.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace postrec {

namespace {

/// levels, of which `fit` are left from levels[next] on: that one, and the last unless there is no other.
std::vector<double> thinned(const std::vector<double>& levels, std::size_t next, std::size_t fit) {
  const std::size_t n = levels.size() - next;
  std::vector<double> kept(levels.begin(), levels.begin() + static_cast<std::ptrdiff_t>(next));
  for (std::size_t i = 0; i < fit; ++i) kept.push_back(levels[next + (fit == 1 ? 0 : (n - 1) * i / (fit - 1))]);
  return kept;
}

}  // namespace

Pace::Pace(double deadline_s, std::function<double()> clock, std::function<double(double)> work)
    : deadline_s_(deadline_s), clock_(std::move(clock)), work_(std::move(work)), begin_(clock_()) {}

bool Pace::another_batch(std::int64_t n_samples) {
  if (!limited() || sample_levels_ == 0) return true;
  return left() >= kFewestLevels * level_seconds_ / static_cast<double>(sample_levels_) * static_cast<double>(n_samples);
}

void Pace::begin_batch(std::int64_t n_samples, std::int64_t n_batches) {
  n_samples_ = n_samples;
  level_begin_ = clock_();
  batch_end_ = level_begin_ + left() / static_cast<double>(n_batches);
}

bool Pace::has_time_for(const std::vector<double>& levels, std::size_t next) const {
  const double work = std::accumulate(levels.begin() + static_cast<std::ptrdiff_t>(next), levels.end(), 0.0, [&](double sum, double sigma) { return sum + work_(sigma); });
  const double needed = work * level_seconds_ / sample_work_ * static_cast<double>(n_samples_);
  return needed <= (levels.size() <= kFewestLevels ? left() : batch_end_ - clock_());
}

bool Pace::thin(std::vector<double>& levels, std::size_t next) {
  if (!limited() || level_seconds_ == 0.0) return false;
  const std::size_t n = levels.size() - next;
  std::size_t fit = n;
  std::vector<double> kept = levels;
  while (fit > 1 && !has_time_for(kept, next)) kept = thinned(levels, next, --fit);
  if (fit == n) return false;
  levels = std::move(kept);
  return true;
}

void Pace::finished_level(double sigma) {
  const double now = clock_();
  level_seconds_ += now - level_begin_;
  sample_levels_ += n_samples_;
  sample_work_ += work_(sigma) * static_cast<double>(n_samples_);
  level_begin_ = now;
}

}  // namespace postrec
