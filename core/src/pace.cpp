#include "pace.hpp"

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
  const double time = levels.size() <= kFewestLevels ? left() : batch_end_ - clock_(), work = time * sample_work_ / (level_seconds_ * static_cast<double>(n_samples_));
  double needed = 0.0;
  for (std::size_t i = next; i < levels.size() && needed <= work; ++i) needed += work_(levels[i]);
  return needed <= work;
}

bool Pace::thin(std::vector<double>& levels, std::size_t next) {
  if (!limited() || level_seconds_ == 0.0 || has_time_for(levels, next)) return false;
  std::size_t fit = 1, too_many = levels.size() - next;
  while (too_many - fit > 1) {
    const std::size_t middle = fit + (too_many - fit) / 2;
    (has_time_for(thinned(levels, next, middle), next) ? fit : too_many) = middle;
  }
  if (too_many == fit) return false;           // the one level that is left is walked
  levels = thinned(levels, next, fit);
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
