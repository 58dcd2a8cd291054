#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace postrec {

/// How the samples of a Cartesian k-space are chosen. The 1-D patterns choose whole lines, the 2-D ones single samples.
enum class MaskPattern { kFull, kEquispaced, kRandom, kVariableDensity, kVariableDensity2d, kPoissonDisc };
enum class PhaseEncode { kRows, kColumns };  ///< the axis along which 1-D patterns leave out lines: ky (rows) or kx (columns)

struct MaskRequest {
  MaskPattern pattern = MaskPattern::kFull;
  PhaseEncode phase_encode = PhaseEncode::kRows;
  std::int64_t height = 0;
  std::int64_t width = 0;
  double acceleration = 1.0;  ///< all samples over acquired ones, the calibration block included
  /// Fully sampled lines around DC; a square block of that side for the 2-D patterns. Not set: a third of what is acquired, 24 at most.
  std::optional<std::int64_t> n_acs_lines;
  std::uint64_t seed = 0;  ///< of the random patterns
};

/// A sampling mask, [height * width] row by row, 1 = acquired, DC at (height/2, width/2).
///
/// Exactly max(1, round(n / acceleration)) of the n lines (or samples) are acquired, the calibration block among them.
/// A pure function: the same request gives the same mask on every machine.
///
/// Law: poisson_disc. No acquired sample outside the calibration block is nearer to another one than the radius, which is the
/// largest for which a random throw places as many samples as asked for.
///
/// Throws Error(kConfiguration) when the calibration block does not fit in or alone exceeds what the acceleration allows.
std::vector<std::uint8_t> make_mask(const MaskRequest& request);

}  // namespace postrec
