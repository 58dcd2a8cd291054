#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "postrec/measurement.hpp"
#include "postrec/whitened_operator.hpp"

namespace postrec {

struct RawKspaceOptions {
  bool prewhiten = true;  ///< false: the coils stay as they are and sigma_y is 0, for those who know the noise better
  std::filesystem::path scratch = {};  ///< a folder: k-space lies in a file there (scratch_tensor.hpp) instead of memory
};

/// Cartesian MRI as a scanner wrote it, made ready for the operator "mri-fourier".
struct RawKspace {
  Measurement measurement;         ///< y complex64 [slice, coil, ky, kx], DC at n/2, 0 where nothing was acquired; its mask is a parameter
  at::Tensor coils;                ///< int64: which of the file's coils y holds, where some hold nothing but zeros; else undefined
  at::Tensor weights;              ///< float32 [slice, coil, ky, kx]: how often each sample was measured, where that differs or sigma_y is not known yet; else undefined
  std::shared_ptr<const Whitening> whitening;  ///< what mixed the coils, so that given sensitivity maps can be mixed alike; null: nothing
  std::string sigma_y_source;      ///< how sigma_y (of one measurement of a sample) was found; empty: it is 0
  std::vector<std::string> notes;  ///< what the user should know, one sentence each, without patient data
};

/// Whether `path` has the ending of a raw data file: .h5, .hdf5 or .mrd.
bool is_raw_kspace(const std::filesystem::path& path);

/// Reads an ISMRMRD (MRD) file of one 2-D Cartesian image for each slice, or a file of the fastMRI collection (`kspace` [slice, (coil,) ky, kx]).
///
/// Readout oversampling is removed, averages are averaged, calibration lines merged in, and lines that were not acquired become the mask. The noise
/// of the coils is made white with unit variance in each real component, from a noise scan or, without one, from the edge of k-space.
/// Slices are ordered along the normal of the image plane. Throws Error: kNoInput, kBadData (damaged, or of a kind that is not read; each says which).
RawKspace read_raw_kspace(const std::filesystem::path& path, const RawKspaceOptions& options = {});

}  // namespace postrec
