#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "child_process.hpp"

namespace postrec {

enum class Trajectory : std::int32_t { kUnknown, kCartesian, kOther };
/// Where calibration lines come from: kSame scan as the image (embedded, interleaved or not said), or one of their own with another contrast.
enum class Calibration : std::int32_t { kSame, kSeparate };

/// What is used of the XML header: of its first encoding, in the order (x = readout, y = phase encoding, z). No text, so that nothing of the patient is kept.
struct MrdEncoding {
  bool present = false;
  Trajectory trajectory = Trajectory::kUnknown;
  Calibration calibration = Calibration::kSame;
  std::array<std::uint16_t, 3> encoded_size{};
  std::array<float, 3> encoded_fov_mm{};
  std::array<float, 3> recon_fov_mm{};
  std::array<std::uint16_t, 3> recon_size{};
  bool has_center_line = false;
  std::uint16_t center_line = 0;  ///< the kspace_encode_step_1 of DC
  bool says_noise_bandwidth = false;
  float noise_bandwidth = 1.0f;   ///< of a noise scan, relative to 1 over its sample time
};

/// The header of one readout, as far as it is used; its values are [coil, sample].
struct MrdReadout {
  std::uint64_t flags;
  std::uint16_t n_samples, n_coils, discard_before, discard_after, center_sample, encoding, line, partition, slice, contrast, phase, repetition, set;
  float sample_time_us;
  std::array<float, 3> position_mm, read_dir, phase_dir;  ///< LPS
  std::uint64_t first_value;
};

/// The contents of an ISMRMRD or fastMRI file, copied out of it by a child process.
class MrdFile {
 public:
  enum class Kind : std::int32_t { kIsmrmrd, kFastMri };
  struct Head {
    Kind kind;
    MrdEncoding encoding;
    std::uint64_t n_readouts;            ///< kIsmrmrd
    std::array<std::uint64_t, 4> shape;  ///< kFastMri: [slice, coil, ky, kx]
    std::uint64_t n_mask;                ///< kFastMri: columns of the mask, 0: there is none
    std::uint64_t n_values;
    int disk_full;                       ///< the system's error when the values got no room
    char problem[200];
  };

  /// With a folder `scratch` the values lie in a file there (scratch_tensor.hpp).
  /// Throws Error: kNoInput, kBadData (not HDF5, damaged, values in other files, neither of both kinds), kInputOutput (disk full).
  explicit MrdFile(const std::filesystem::path& path, const std::filesystem::path& scratch = {});

  Kind kind() const { return head_->kind; }
  const MrdEncoding& encoding() const { return head_->encoding; }
  std::span<const MrdReadout> readouts() const { return {readouts_, head_->n_readouts}; }
  std::span<const std::complex<float>> values() const { return {values_, head_->n_values}; }
  /// What keeps the values alive.
  std::shared_ptr<const void> memory() const { return value_memory_; }
  const std::array<std::uint64_t, 4>& shape() const { return head_->shape; }
  std::span<const std::uint8_t> mask() const { return {mask_, head_->n_mask}; }

 private:
  std::shared_ptr<SharedMemory> memory_, value_memory_;
  const Head* head_ = nullptr;
  const MrdReadout* readouts_ = nullptr;
  const std::complex<float>* values_ = nullptr;
  const std::uint8_t* mask_ = nullptr;
};

}  // namespace postrec
