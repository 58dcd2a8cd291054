#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace postrec {

/// Keeps a run within a number of seconds: says how many of the remaining levels still fit, and whether another batch does.
///
/// Batches share the time that is left; the first ones may take more of it than their share where that is needed for `kFewestLevels`, because
/// a few samples of enough levels say more than many of too few.
class Pace {
 public:
  static constexpr int kFewestLevels = 8;

  /// `deadline_s` from now; 0: no deadline. `clock`: seconds, rising. `work`: of a level, by its sigma, in any unit.
  Pace(double deadline_s, std::function<double()> clock, std::function<double(double sigma)> work);

  bool limited() const { return deadline_s_ > 0.0; }

  /// Whether there is time for another batch of `n_samples`. Always for the first.
  bool another_batch(std::int64_t n_samples);
  /// A batch of `n_samples` begins, `n_batches` are left with it.
  void begin_batch(std::int64_t n_samples, std::int64_t n_batches);
  /// The levels still to walk, from levels[next] on, thinned where the time does not last for all: the one at hand and the last stay.
  /// True when some were left out.
  bool thin(std::vector<double>& levels, std::size_t next);
  /// The level at sigma is done for the batch.
  void finished_level(double sigma);

 private:
  double left() const { return begin_ + deadline_s_ - clock_(); }
  bool has_time_for(const std::vector<double>& levels, std::size_t next) const;

  double deadline_s_;
  std::function<double()> clock_;
  std::function<double(double)> work_;
  double begin_;
  double level_begin_ = 0.0;
  double batch_end_ = 0.0;                     ///< when the batch's share of the time is over, by the clock
  std::int64_t n_samples_ = 0;
  double level_seconds_ = 0.0;                 ///< of all levels so far
  std::int64_t sample_levels_ = 0;             ///< each counted once a sample
  double sample_work_ = 0.0;                   ///< theirs
};

}  // namespace postrec
