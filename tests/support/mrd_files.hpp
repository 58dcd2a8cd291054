#pragma once

#include <ATen/ATen.h>
#include <ismrmrd/dataset.h>
#include <ismrmrd/ismrmrd.h>
#include <ismrmrd/xml.h>

#include <array>
#include <functional>
#include <sstream>
#include <string>

namespace postrec::test {

/// What a synthetic ISMRMRD file is like.
struct MrdOptions {
  std::array<double, 2> encoded_fov_mm{200, 100};  ///< (x, y)
  std::array<double, 2> recon_fov_mm{200, 100};
  double slice_step_mm = 5;
  std::function<void(ISMRMRD::IsmrmrdHeader&)> edit_header = [](auto&) {};
};

/// Writes readouts one after the other with ISMRMRD's own library.
class MrdWriter {
 public:
  /// For a k-space of `columns` samples in readout direction and `rows` lines.
  MrdWriter(const std::string& path, std::int64_t columns, std::int64_t rows, const MrdOptions& options = {})
      : options_(options), dataset_(path.c_str(), "dataset", true) {
    ISMRMRD::IsmrmrdHeader header;
    header.experimentalConditions.H1resonanceFrequency_Hz = 123000000;
    ISMRMRD::Encoding encoding;
    encoding.trajectory = ISMRMRD::TrajectoryType::CARTESIAN;
    encoding.encodedSpace.matrixSize = {static_cast<unsigned short>(columns), static_cast<unsigned short>(rows), 1};
    encoding.encodedSpace.fieldOfView_mm = {static_cast<float>(options.encoded_fov_mm[0]), static_cast<float>(options.encoded_fov_mm[1]), 4.0f};
    encoding.reconSpace = encoding.encodedSpace;
    encoding.reconSpace.fieldOfView_mm = {static_cast<float>(options.recon_fov_mm[0]), static_cast<float>(options.recon_fov_mm[1]), 4.0f};
    encoding.encodingLimits.kspace_encoding_step_1 = ISMRMRD::Limit(0, static_cast<unsigned short>(rows - 1), static_cast<unsigned short>(rows / 2));
    header.encoding.push_back(encoding);
    options_.edit_header(header);
    std::ostringstream xml;
    ISMRMRD::serialize(header, xml);
    dataset_.writeHeader(xml.str());
  }

  /// A readout [coil, sample] of line `line` of a slice; `edit` may change its header.
  void add(
      const at::Tensor& values, std::int64_t line, std::int64_t slice = 0, const std::function<void(ISMRMRD::Acquisition&)>& edit = [](auto&) {}) {
    const at::Tensor data = values.to(at::kComplexFloat).resolve_conj().contiguous();
    const auto n_coils = static_cast<std::uint16_t>(data.size(0)), n = static_cast<std::uint16_t>(data.size(1));
    ISMRMRD::Acquisition acquisition(n, n_coils, 0);
    std::memcpy(acquisition.getDataPtr(), data.data_ptr(), static_cast<std::size_t>(data.numel()) * 8);
    acquisition.center_sample() = n / 2;
    acquisition.sample_time_us() = 5.0f;
    acquisition.idx().kspace_encode_step_1 = static_cast<std::uint16_t>(line);
    acquisition.idx().slice = static_cast<std::uint16_t>(slice);
    acquisition.read_dir()[0] = 1;
    acquisition.phase_dir()[1] = 1;
    acquisition.slice_dir()[2] = 1;
    acquisition.position()[2] = static_cast<float>(options_.slice_step_mm * static_cast<double>(slice));
    edit(acquisition);
    dataset_.appendAcquisition(acquisition);
  }

  /// Every line of k-space [slice, coil, ky, kx] that is not 0 everywhere.
  void add_all(
      const at::Tensor& kspace, const std::function<void(ISMRMRD::Acquisition&)>& edit = [](auto&) {}) {
    for (std::int64_t slice = 0; slice < kspace.size(0); ++slice)
      for (std::int64_t line = 0; line < kspace.size(2); ++line) {
        const at::Tensor values = kspace[slice].select(1, line);
        if (values.abs().max().item<double>() > 0) add(values, line, slice, edit);
      }
  }

  /// A readout of nothing but noise.
  void add_noise(const at::Tensor& values, double sample_time_us) {
    add(values, 0, 0, [&](ISMRMRD::Acquisition& a) {
      a.setFlag(ISMRMRD::ISMRMRD_ACQ_IS_NOISE_MEASUREMENT);
      a.sample_time_us() = static_cast<float>(sample_time_us);
    });
  }

 private:
  MrdOptions options_;
  ISMRMRD::Dataset dataset_;
};

}  // namespace postrec::test
