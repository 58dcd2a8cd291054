#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "result/comparison_request.hpp"

namespace postrec {

/// Every method on the same measurements of the same slices with the same random numbers, judged against the truth.
///
/// Each method first runs two levels unmeasured, so that none pays for what happens once; a method that cannot do this operator drops out with its reason.
/// With `seconds`, the number of levels is found on the first slice: twice as many until they take a third of the time, then along a straight line; a method that
/// takes twice the time with the fewest levels drops out too. Figures are those of quality.hpp, averaged over the slices that every method has finished; they and
/// those of each slice come out as JSON. When the user interrupts, "interrupted" is true and finished slices stay. `keep`, if any, is given the same after each slice, as it would be
/// were the comparison to end there.
/// Throws Error: what reading and session throw; kInterrupted when no slice was finished; what the last method threw when all of them failed.
nlohmann::ordered_json compare_methods(const ComparisonRequest& request, const std::function<void(const nlohmann::ordered_json&)>& keep = {});

}  // namespace postrec
