#pragma once

#include <functional>

namespace postrec {

/// Noise levels of the short runs that come before what is timed.
inline constexpr int kWarmUpLevels = 2;

/// The number of levels of a run that takes about `seconds`, given what a run of so many takes: along the straight line through two runs, since what happens once costs too, and through
/// what it foretold as often as that is a tenth off, since not all levels cost alike.
/// Throws Error(kUsage) where the fewest levels take over twice the time.
int levels_that_fit(double seconds, const std::function<double(int levels)>& seconds_of);

}  // namespace postrec
