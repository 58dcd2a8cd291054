#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

#include "mrd_file.hpp"
#include "postrec/data/raw_kspace.hpp"

namespace postrec {

/// k-space [slice, coil, ky, kx] as put together from a file, before whitening. It is made a slice at a time and lies where scratch_tensor puts it.
struct GatheredKspace {
  at::Tensor kspace;  ///< complex64: means over the measurements of each sample, 0 where there is none
  at::Tensor counts;  ///< float32 [slice, ky, kx]: how many measurements that were
  at::Tensor noise;   ///< complex64 [coil, n] of the noise scan, scaled to the noise of one measurement; undefined: none
  ImageGeometry geometry;
  std::vector<std::string> notes;
};

/// The image readouts of an ISMRMRD file. `name` begins every message. Throws Error(kBadData) for what is not read: other trajectories than
/// Cartesian, 3-D, several contrasts, phases, repetitions or sets, readouts that go backwards.
GatheredKspace gather_ismrmrd(const MrdFile& file, const std::string& name, const std::filesystem::path& scratch);

/// The k-space of a fastMRI file, whose rows are the readout and whose columns the phase encoding.
GatheredKspace gather_fast_mri(const MrdFile& file, const std::string& name, const std::filesystem::path& scratch);

/// Cuts the image of a k-space down to its middle `n_kept` pixels along `axis`, which no longer holds what lies outside. White noise keeps its variance.
at::Tensor without_oversampling(const at::Tensor& kspace, std::int64_t axis, std::int64_t n_kept);

}  // namespace postrec
