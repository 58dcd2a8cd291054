#include "mri_fourier/masks.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "common/counter_hash.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

using Mask = std::vector<std::uint8_t>;

std::int64_t count_for(std::int64_t n, double acceleration) {
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(n) / acceleration));
}

void check_calibration(std::int64_t n_acs, std::int64_t side, std::int64_t n_block, std::int64_t n_acquired, double acceleration) {
  const std::string name = "n-acs-lines=" + std::to_string(n_acs);
  if (n_acs > side) {
    throw Error(ErrorKind::kConfiguration, name + " is more than the " + std::to_string(side) + " lines of k-space", "lower it");
  }
  if (n_block > n_acquired) {
    throw Error(ErrorKind::kConfiguration,
                name + " takes " + std::to_string(n_block) + " samples where acceleration=" + std::to_string(acceleration) + " allows " +
                    std::to_string(n_acquired),
                "lower n-acs-lines or acceleration");
  }
}

/// The outer lines or samples in the order in which a density draws them without replacement: an exponential waiting time with the
/// weight as rate for each, shortest first [Efraimidis 2006].
template <class Weight>
std::vector<std::int64_t> draw_order(const Mask& block, std::uint64_t seed, Weight weight) {
  std::vector<std::pair<double, std::int64_t>> waiting;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(block.size()); ++i) {
    if (!block[i]) waiting.emplace_back(-std::log(counter_uniform(seed, i)) / weight(i), i);
  }
  std::sort(waiting.begin(), waiting.end());
  std::vector<std::int64_t> order;
  for (const auto& [time, i] : waiting) order.push_back(i);
  return order;
}

/// Polynomial density [Lustig 2007]: 1 at DC, falling with the cube of the way to the edge, with a floor that keeps the edge in play.
double density(double radius) { return std::max(std::pow(std::max(1.0 - radius, 0.0), 3.0), 0.01); }

double offset_from_dc(std::int64_t i, std::int64_t n) { return static_cast<double>(i - n / 2) / (0.5 * static_cast<double>(n)); }

/// The lines that are not in the block, upwards from the block's end and around: n_outer of them, evenly spaced.
/// Without a block the first one is DC, and the spacing is regular where the acceleration divides the number of lines.
void add_equispaced(Mask& lines, std::int64_t n_acs, std::int64_t n_outer) {
  const auto n = static_cast<std::int64_t>(lines.size());
  const std::int64_t start = n / 2 - n_acs / 2 + n_acs;
  const double spacing = static_cast<double>(n - n_acs) / static_cast<double>(std::max<std::int64_t>(n_outer, 1));
  const double first = n_acs > 0 ? 0.5 : 0.0;
  for (std::int64_t k = 0; k < n_outer; ++k) {
    lines[(start + static_cast<std::int64_t>((static_cast<double>(k) + first) * spacing)) % n] = 1;
  }
}

constexpr std::int64_t kDefaultAcsLimit = 24;

Mask line_mask(const MaskRequest& request, std::int64_t n) {
  const std::int64_t n_acquired = count_for(n, request.acceleration);
  const std::int64_t n_acs = request.n_acs_lines.value_or(std::min(n_acquired / 3, kDefaultAcsLimit));
  check_calibration(n_acs, n, n_acs, n_acquired, request.acceleration);
  Mask lines(n, 0);
  std::fill_n(lines.begin() + (n / 2 - n_acs / 2), n_acs, 1);
  if (request.pattern == MaskPattern::kEquispaced) {
    add_equispaced(lines, n_acs, n_acquired - n_acs);
    return lines;
  }
  const bool uniform_density = request.pattern == MaskPattern::kRandom;
  const auto order =
      draw_order(lines, request.seed, [&](std::int64_t i) { return uniform_density ? 1.0 : density(std::abs(offset_from_dc(i, n))); });
  for (std::int64_t k = 0; k < n_acquired - n_acs; ++k) lines[order[k]] = 1;
  return lines;
}

/// Throws darts in the given order and keeps each that has no acquired neighbour within `radius_squared` (exclusive), n_outer at most.
/// Returns how many were kept.
std::int64_t throw_darts(Mask& mask, const std::vector<std::int64_t>& order, const MaskRequest& request, std::int64_t radius_squared,
                         std::int64_t n_outer) {
  std::vector<std::pair<std::int64_t, std::int64_t>> disc;
  const auto reach = static_cast<std::int64_t>(std::sqrt(static_cast<double>(radius_squared)));
  for (std::int64_t dy = -reach; dy <= reach; ++dy) {
    for (std::int64_t dx = -reach; dx <= reach; ++dx) {
      if (dy * dy + dx * dx < radius_squared) disc.emplace_back(dy, dx);
    }
  }
  const auto is_free = [&](std::int64_t y, std::int64_t x) {
    return std::none_of(disc.begin(), disc.end(), [&](const auto& d) {
      const std::int64_t row = y + d.first, column = x + d.second;
      return row >= 0 && row < request.height && column >= 0 && column < request.width && mask[row * request.width + column];
    });
  };
  std::int64_t n_kept = 0;
  for (const std::int64_t i : order) {
    if (n_kept == n_outer) break;
    if (!is_free(i / request.width, i % request.width)) continue;
    mask[i] = 1;
    ++n_kept;
  }
  return n_kept;
}

/// Starts from the radius of the densest packing there is (hexagonal) and shrinks until the throw places n_outer samples;
/// at radius 1 nothing is excluded, so that it always ends. Beyond the plane's diagonal a larger radius excludes no more.
void add_poisson_disc(Mask& mask, const MaskRequest& request, std::int64_t n_outer) {
  const auto order = draw_order(mask, request.seed, [](std::int64_t) { return 1.0; });
  const Mask block = mask;
  const auto height = static_cast<double>(request.height), width = static_cast<double>(request.width);
  const double densest_squared = 2.0 / std::sqrt(3.0) * request.acceleration, diagonal_squared = height * height + width * width;
  std::int64_t radius_squared = 1 + static_cast<std::int64_t>(std::min(densest_squared, diagonal_squared));
  while (throw_darts(mask, order, request, radius_squared, n_outer) < n_outer) {
    mask = block;
    --radius_squared;
  }
}

Mask plane_mask(const MaskRequest& request) {
  const std::int64_t height = request.height, width = request.width;
  const std::int64_t n_acquired = count_for(height * width, request.acceleration);
  const auto third = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n_acquired / 3)));
  const std::int64_t side = request.n_acs_lines.value_or(std::min({third, kDefaultAcsLimit, height, width}));
  check_calibration(side, std::min(height, width), side * side, n_acquired, request.acceleration);
  Mask mask(height * width, 0);
  for (std::int64_t y = 0; y < side; ++y) {
    std::fill_n(mask.begin() + (height / 2 - side / 2 + y) * width + (width / 2 - side / 2), side, 1);
  }
  const std::int64_t n_outer = n_acquired - side * side;
  if (request.pattern == MaskPattern::kPoissonDisc) {
    add_poisson_disc(mask, request, n_outer);
    return mask;
  }
  const auto order = draw_order(mask, request.seed, [&](std::int64_t i) {
    return density(std::hypot(offset_from_dc(i / width, height), offset_from_dc(i % width, width)));
  });
  for (std::int64_t k = 0; k < n_outer; ++k) mask[order[k]] = 1;
  return mask;
}

}  // namespace

Mask make_mask(const MaskRequest& request) {
  const std::int64_t height = request.height, width = request.width;
  if (request.pattern == MaskPattern::kFull) return Mask(height * width, 1);
  if (request.pattern == MaskPattern::kVariableDensity2d || request.pattern == MaskPattern::kPoissonDisc) return plane_mask(request);

  const bool along_rows = request.phase_encode == PhaseEncode::kRows;
  const Mask lines = line_mask(request, along_rows ? height : width);
  Mask mask(height * width);
  for (std::int64_t i = 0; i < height * width; ++i) mask[i] = lines[along_rows ? i / width : i % width];
  return mask;
}

}  // namespace postrec
