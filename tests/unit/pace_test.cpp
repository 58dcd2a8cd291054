// A run under a deadline, on a clock that only the work of its levels moves; what that means for a sampler: sampler_resume_test.cpp.
#include "pace.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace postrec::test {
namespace {

struct Walked {
  double seconds;
  std::vector<double> levels;
};

/// Walks 20, 19, .. 1, a second each and from 13 to 5 two, within `deadline` seconds; the pace is told that the latter take `told` times as long.
Walked walk(double deadline, double told) {
  double now = 0.0;
  const auto is_long = [](double sigma) { return sigma < 14.0 && sigma > 4.0; };
  Pace pace(deadline, [&] { return now; }, [&](double sigma) { return is_long(sigma) ? told : 1.0; });
  std::vector<double> levels;
  for (double sigma = 20.0; sigma > 0.0; sigma -= 1.0) levels.push_back(sigma);
  pace.begin_batch(1, 1);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    pace.thin(levels, i);
    now += is_long(levels[i]) ? 2.0 : 1.0;
    pace.finished_level(levels[i]);
  }
  return {now, levels};
}

TEST(Pace, LeavesNothingOutOfWhatFits) {
  const Walked all = walk(29.0, 2.0);
  EXPECT_EQ(all.levels.size(), 20u);
  EXPECT_EQ(all.seconds, 29.0);
}

double widest_gap(const std::vector<double>& levels) {
  double widest = 0.0;
  for (std::size_t i = 1; i < levels.size(); ++i) widest = std::max(widest, levels[i - 1] - levels[i]);
  return widest;
}

// A pace that takes levels for equal walks the first ones as if there were time, and has to leap at the end.
TEST(Pace, KnowsThatSomeLevelsTakeLonger) {
  for (const double deadline : {24.0, 18.0, 12.0, 9.0}) {
    const Walked right = walk(deadline, 2.0), wrong = walk(deadline, 1.0);
    EXPECT_LE(right.seconds, deadline);
    EXPECT_GE(right.seconds, deadline - 2.0) << "the time is used";
    EXPECT_EQ(right.levels.back(), 1.0);
    EXPECT_LE(widest_gap(right.levels), 5.0) << deadline;
    EXPECT_LT(widest_gap(right.levels), widest_gap(wrong.levels)) << deadline;
  }
}

}  // namespace
}  // namespace postrec::test
