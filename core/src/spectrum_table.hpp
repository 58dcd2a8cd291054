#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "postrec/spectral_covariance.hpp"

namespace postrec {

// A table of n entries along one axis of a spectrum: where its frequencies lie, in cycles per pixel, and how to read between them.
// DFT: (i - n/2)/n, periodic. DCT: i/2n.

std::vector<double> axis_frequencies(SpectralBasis basis, std::int64_t n);

/// The matrix [frequencies, n], double, that interpolates a table linearly over log(1 + (f/f_1)^2), f_1 half a cell: logarithmic, but
/// smooth through DC as spectra are. It is a unit matrix where the frequencies are the table's own. A frequency beyond the table takes the value at its edge.
at::Tensor axis_interpolation(SpectralBasis basis, std::int64_t n, const std::vector<double>& frequencies);

/// The index of the cell nearest to a frequency; -1 beyond the table.
std::int64_t nearest_cell(SpectralBasis basis, std::int64_t n, double frequency);

}  // namespace postrec
