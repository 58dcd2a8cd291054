#include "result/levels_that_fit.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr int kMostLevels = 1000;
constexpr int kMostTries = 4;
constexpr double kNearEnough = 0.1;            // a first slice says no more of the others

struct Run {
  int levels;
  double seconds;
};

int on_the_line(const Run& a, const Run& b, double seconds) {
  const double a_level = (b.seconds - a.seconds) / (b.levels - a.levels);
  if (!(a_level > 0)) return b.levels;         // the clock's noise
  return std::clamp(static_cast<int>(std::lround(b.levels + (seconds - b.seconds) / a_level)), 1, kMostLevels);
}

}  // namespace

int levels_that_fit(double seconds, const std::function<double(int levels)>& seconds_of) {
  const auto run = [&](int levels) { return Run{levels, seconds_of(levels)}; };
  Run before = run(kWarmUpLevels);
  if (before.seconds > 2 * seconds) {
    char text[128];
    std::snprintf(text, sizeof text, "%d levels take %.1f s, more than twice the %.1f s of --seconds", before.levels, before.seconds, seconds);
    throw Error(ErrorKind::kUsage, text, "allow more time, or change its settings");
  }
  Run last = run(2 * before.levels);
  while (last.seconds < seconds / 3 && 2 * last.levels <= kMostLevels) before = std::exchange(last, run(2 * last.levels));
  const auto off = [&](const Run& one) { return std::abs(one.seconds - seconds); };
  Run nearest = off(before) < off(last) ? before : last;
  for (int tried = 0; tried < kMostTries && off(nearest) > kNearEnough * seconds; ++tried) {
    const int levels = on_the_line(before, last, seconds);
    if (levels == before.levels || levels == last.levels) break;
    before = std::exchange(last, run(levels));
    if (off(last) < off(nearest)) nearest = last;
  }
  return nearest.levels;
}

}  // namespace postrec
