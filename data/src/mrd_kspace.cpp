#include "mrd_kspace.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "mrd_geometry.hpp"
#include "postrec/data/scratch_tensor.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

using Value = c10::complex<float>;

/// ISMRMRD_AcquisitionFlags: flag k is bit k - 1.
constexpr std::uint64_t flag(int k) { return std::uint64_t{1} << (k - 1); }
constexpr std::uint64_t kNoise = flag(19), kCalibration = flag(20), kReverse = flag(22);
/// Navigators, phase correction, feedback, dummy scans, surface coil correction, phase stabilisation.
constexpr std::uint64_t kNoImage = flag(23) | flag(24) | flag(26) | flag(27) | flag(28) | flag(29) | flag(30) | flag(31);

[[noreturn]] void refuse(const std::string& name, const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::kBadData, name + ": " + what, hint);
}

bool is_length(double mm) { return std::isfinite(mm) && mm > 0; }
double length_or_1(double mm) { return is_length(mm) ? mm : 1.0; }

using Readouts = std::vector<const MrdReadout*>;

struct SortedReadouts {
  Readouts image, noise;
  std::vector<std::string> notes;
};

SortedReadouts sort_readouts(const MrdFile& file) {
  SortedReadouts sorted;
  std::size_t n_separate = 0, n_other = 0;
  for (const MrdReadout& readout : file.readouts()) {
    if (readout.flags & kNoise) sorted.noise.push_back(&readout);
    else if (readout.flags & kNoImage || readout.encoding != 0) ++n_other;
    else if (readout.flags & kCalibration && file.encoding().calibration == Calibration::kSeparate) ++n_separate;
    else sorted.image.push_back(&readout);
  }
  if (n_other > 0) sorted.notes.push_back(std::to_string(n_other) + " readouts of navigators, corrections or other encodings were left out");
  if (n_separate > 0) sorted.notes.push_back(std::to_string(n_separate) + " calibration lines of a separate scan were left out: their contrast is another");
  return sorted;
}

/// One value of a counter in all readouts, since each value would be an image of its own.
void require_one(const Readouts& readouts, std::uint16_t MrdReadout::*counter, const std::string& what, const std::string& name) {
  std::set<std::uint16_t> values;
  for (const MrdReadout* readout : readouts) values.insert(readout->*counter);
  if (values.size() > 1)
    refuse(name, "it holds " + std::to_string(values.size()) + " " + what, "one image for each slice is read; export one of them to a file of its own");
}

void require_supported(const MrdFile& file, const Readouts& image, const std::string& name) {
  const MrdEncoding& encoding = file.encoding();
  if (encoding.trajectory != Trajectory::kCartesian) refuse(name, "its trajectory is not Cartesian", "only Cartesian acquisitions are read");
  if (image.empty()) refuse(name, "it holds no readouts of an image", "give the file of an imaging scan");
  for (int axis = 0; axis < 2; ++axis)
    if (encoding.encoded_size[axis] == 0 || !is_length(encoding.encoded_fov_mm[axis]))
      refuse(name, "its encoded matrix or field of view is not above 0", "the header is damaged; export it again");
  require_one(image, &MrdReadout::contrast, "contrasts", name);
  require_one(image, &MrdReadout::phase, "phases", name);
  require_one(image, &MrdReadout::repetition, "repetitions", name);
  require_one(image, &MrdReadout::set, "sets", name);
  require_one(image, &MrdReadout::partition, "partitions: it is a 3-D acquisition", name);
  for (const MrdReadout* readout : image) {
    if (readout->flags & kReverse) refuse(name, "it holds readouts that go backwards (as echo-planar imaging has)", "only readouts of one direction are read");
    if (readout->n_coils != image.front()->n_coils || readout->n_coils == 0)
      refuse(name, "its readouts have " + std::to_string(image.front()->n_coils) + " and " + std::to_string(readout->n_coils) + " coils",
             "every readout must have the same, at least one");
    if (readout->n_samples == 0 || readout->discard_before + readout->discard_after >= readout->n_samples)
      refuse(name, "a readout has no samples", "the headers are damaged; export it again");
  }
}

void require_finite_values(const MrdFile& file, const std::string& name) {
  const auto bad = std::find_if(file.values().begin(), file.values().end(), [](const auto& v) { return !std::isfinite(v.real()) || !std::isfinite(v.imag()); });
  if (bad != file.values().end()) refuse(name, "its k-space holds values that are not finite", "the scanner or a conversion went wrong; export it again");
}

/// Sums of the readouts at their places in [slice, coil, ky, kx], and how many each sample has.
class Gatherer {
 public:
  Gatherer(const MrdFile& file, std::size_t n_slices, std::int64_t n_coils, const std::string& name, const std::filesystem::path& scratch)
      : file_(file),
        name_(name),
        height_(file.encoding().encoded_size[1]),
        width_(file.encoding().encoded_size[0]),
        n_coils_(n_coils),
        sums_(scratch_tensor(scratch, {static_cast<std::int64_t>(n_slices), n_coils, height_, width_}, at::kComplexFloat)),
        counts_(scratch_tensor(scratch, {static_cast<std::int64_t>(n_slices), height_, width_}, at::kFloat)) {}

  void add(const MrdReadout& readout, std::int64_t slice) {
    const MrdEncoding& encoding = file_.encoding();
    const std::int64_t row = height_ / 2 + readout.line - (encoding.has_center_line ? encoding.center_line : height_ / 2);
    const std::int64_t shift = width_ / 2 - readout.center_sample;
    std::int64_t first = readout.discard_before, last = readout.n_samples - readout.discard_after;
    if (row < 0 || row >= height_ || first + shift < 0 || last + shift > width_)
      refuse(name_, "a readout lies outside of the encoded matrix of " + std::to_string(width_) + "x" + std::to_string(height_),
             "the headers do not fit together; export it again");
    // Zeros at the ends are padding; between others they are what was measured.
    while (first < last && is_zero(readout, first)) ++first;
    while (first < last && is_zero(readout, last - 1)) --last;
    auto sums = sums_.accessor<Value, 4>();
    auto counts = counts_.accessor<float, 3>();
    for (std::int64_t s = first; s < last; ++s) {
      for (std::int64_t c = 0; c < n_coils_; ++c) sums[slice][c][row][s + shift] += Value(value(readout, c, s));
      counts[slice][row][s + shift] += 1.0f;
    }
  }

  /// Makes means of the sums.
  at::Tensor means() {
    for (std::int64_t slice = 0; slice < sums_.size(0); ++slice) sums_[slice].div_(counts_[slice].clamp_min(1));
    return sums_;
  }
  const at::Tensor& counts() const { return counts_; }

 private:
  std::complex<float> value(const MrdReadout& readout, std::int64_t coil, std::int64_t sample) const {
    return file_.values()[readout.first_value + static_cast<std::uint64_t>(coil * readout.n_samples + sample)];
  }
  bool is_zero(const MrdReadout& readout, std::int64_t sample) const {
    for (std::int64_t c = 0; c < n_coils_; ++c)
      if (value(readout, c, sample) != std::complex<float>(0)) return false;
    return true;
  }

  const MrdFile& file_;
  const std::string& name_;
  std::int64_t height_, width_, n_coils_;
  at::Tensor sums_, counts_;
};

/// The samples of the noise scan, scaled from its bandwidth to that of the image: noise power goes with 1 / sample time, and the filter of the
/// receiver passes only `noise_bandwidth` of it. [Kellman 2005]
at::Tensor noise_samples(const MrdFile& file, const SortedReadouts& sorted, std::vector<std::string>& notes) {
  const MrdReadout& image = *sorted.image.front();
  std::vector<at::Tensor> parts;
  for (const MrdReadout* readout : sorted.noise) {
    const std::int64_t n = readout->n_samples - readout->discard_before - readout->discard_after;
    if (readout->n_coils != image.n_coils || n < 1) continue;
    auto* values = const_cast<std::complex<float>*>(file.values().data() + readout->first_value);
    parts.push_back(at::from_blob(values, {readout->n_coils, readout->n_samples}, at::kComplexFloat).narrow(1, readout->discard_before, n));
  }
  if (parts.empty()) {
    if (!sorted.noise.empty()) notes.push_back("the noise scan is not used: it has other coils than the image");
    return {};
  }
  const double noise_us = sorted.noise.front()->sample_time_us, image_us = image.sample_time_us, bandwidth = file.encoding().noise_bandwidth;
  double power = noise_us / (image_us * bandwidth);
  if (!(noise_us > 0 && image_us > 0 && bandwidth > 0 && std::isfinite(power))) {
    power = 1;
    notes.push_back("the file does not say the sample times: the noise scan is taken to have the bandwidth of the image");
  } else if (!file.encoding().says_noise_bandwidth) {
    notes.push_back("the file does not say the relative bandwidth of its receiver, which is taken to be 1 (of many scanners .79: the noise is then 12 % larger)");
  }
  return at::cat(parts, 1) * std::sqrt(power);
}

SlicePlane plane_of(const MrdReadout& readout) {
  SlicePlane plane;
  for (int i = 0; i < 3; ++i) {
    plane.position_mm[i] = readout.position_mm[i];
    plane.read_dir[i] = readout.read_dir[i];
    plane.phase_dir[i] = readout.phase_dir[i];
  }
  return plane;
}

/// How many pixels are left of `n` when the field of view is cut from `encoded_mm` to `recon_mm`.
std::int64_t pixels_kept(std::int64_t n, double encoded_mm, double recon_mm) {
  const double kept = static_cast<double>(n) * recon_mm / encoded_mm;
  return std::isfinite(kept) && kept >= 1 && kept < static_cast<double>(n) ? std::lround(kept) : n;
}

/// Slice after slice of what `change` makes of each one of `from`, all of one shape.
template <class Change>
at::Tensor slice_by_slice(const at::Tensor& from, const std::filesystem::path& scratch, const Change& change) {
  at::Tensor all;
  for (std::int64_t slice = 0; slice < from.size(0); ++slice) {
    const at::Tensor changed = change(from[slice]);
    if (!all.defined()) {
      std::vector<std::int64_t> shape = changed.sizes().vec();
      shape.insert(shape.begin(), from.size(0));
      all = scratch_tensor(scratch, shape, changed.scalar_type());
    }
    all[slice].copy_(changed);
  }
  return all;
}

template <class Holds>
bool all_slices(const at::Tensor& values, const Holds& holds) {
  for (std::int64_t slice = 0; slice < values.size(0); ++slice)
    if (!holds(values[slice])) return false;
  return true;
}

}  // namespace

at::Tensor without_oversampling(const at::Tensor& kspace, std::int64_t axis, std::int64_t n_kept) {
  const std::int64_t n = kspace.size(axis);
  const auto centred = [&](const at::Tensor& x, bool inverse) {
    const at::Tensor shifted = at::fft_ifftshift(x, axis);
    return at::fft_fftshift(inverse ? at::fft_ifft(shifted, c10::nullopt, axis, "ortho") : at::fft_fft(shifted, c10::nullopt, axis, "ortho"), axis);
  };
  return centred(centred(kspace, true).narrow(axis, n / 2 - n_kept / 2, n_kept), false).contiguous();
}

GatheredKspace gather_ismrmrd(const MrdFile& file, const std::string& name, const std::filesystem::path& scratch) {
  SortedReadouts sorted = sort_readouts(file);
  require_supported(file, sorted.image, name);
  require_finite_values(file, name);
  const MrdEncoding& encoding = file.encoding();

  for (const MrdReadout* readout : sorted.image)
    for (int i = 0; i < 3; ++i)
      if (!std::isfinite(readout->position_mm[i] + readout->read_dir[i] + readout->phase_dir[i]))
        refuse(name, "the direction or position of a slice is not finite", "the headers are damaged; export it again");
  std::map<std::uint16_t, const MrdReadout*> first_of_slice;
  const double thickness = length_or_1(encoding.encoded_fov_mm[2]);
  for (const MrdReadout* readout : sorted.image) {
    const MrdReadout& first = *first_of_slice.emplace(readout->slice, readout).first->second;
    const double apart = std::hypot(readout->position_mm[0] - first.position_mm[0], readout->position_mm[1] - first.position_mm[1], readout->position_mm[2] - first.position_mm[2]);
    // A scan that follows motion moves its slices a little.
    if (apart > thickness)
      refuse(name, "readouts of slice " + std::to_string(readout->slice) + " lie " + std::to_string(apart) + " mm apart", "they are slices of their own: export each stack to a file of its own");
  }
  std::vector<SlicePlane> planes;
  for (const auto& [slice, readout] : first_of_slice) planes.push_back(plane_of(*readout));

  const std::int64_t height = encoding.encoded_size[1], width = encoding.encoded_size[0];
  const std::array<double, 2> pixel_mm = {encoding.encoded_fov_mm[0] / static_cast<double>(width), encoding.encoded_fov_mm[1] / static_cast<double>(height)};
  const std::int64_t kept = pixels_kept(width, encoding.encoded_fov_mm[0], encoding.recon_fov_mm[0]);

  std::map<std::uint16_t, std::int64_t> index_of_slice;
  const PlacedSlices in_full = place_slices(planes, pixel_mm, thickness, height, width, name);
  for (std::size_t i = 0; i < in_full.order.size(); ++i)
    index_of_slice[std::next(first_of_slice.begin(), static_cast<std::ptrdiff_t>(in_full.order[i]))->first] = static_cast<std::int64_t>(i);

  Gatherer gatherer(file, planes.size(), sorted.image.front()->n_coils, name, scratch);
  for (const MrdReadout* readout : sorted.image) gatherer.add(*readout, index_of_slice.at(readout->slice));

  GatheredKspace gathered{gatherer.means(), gatherer.counts(), {}, in_full.geometry, std::move(sorted.notes)};
  gathered.notes.insert(gathered.notes.end(), in_full.notes.begin(), in_full.notes.end());
  gathered.noise = noise_samples(file, sorted, gathered.notes);
  const at::Tensor& counts = gathered.counts;
  if (kept < width) {
    const bool whole_lines = all_slices(counts, [](const at::Tensor& slice) { return slice.eq(slice.amax(1, true)).all().item<bool>(); });
    if (whole_lines) {
      gathered.kspace = slice_by_slice(gathered.kspace, scratch, [&](const at::Tensor& slice) { return without_oversampling(slice, 2, kept); });
      gathered.counts = slice_by_slice(counts, scratch, [&](const at::Tensor& slice) { return slice.narrow(1, 0, kept); });
      gathered.geometry = place_slices(planes, pixel_mm, thickness, height, kept, name).geometry;
    } else {
      gathered.notes.push_back("readout oversampling is kept, because the readouts are partial (an asymmetric echo)");
    }
  }
  return gathered;
}

GatheredKspace gather_fast_mri(const MrdFile& file, const std::string& name, const std::filesystem::path& scratch) {
  require_finite_values(file, name);
  const auto& shape = file.shape();
  const auto size = [&](int axis) { return static_cast<std::int64_t>(shape[static_cast<std::size_t>(axis)]); };
  auto* values = const_cast<std::complex<float>*>(file.values().data());
  at::Tensor kspace = at::from_blob(
      values, {size(0), size(1), size(2), size(3)}, [memory = file.memory()](void*) {}, at::kComplexFloat);
  if (!file.mask().empty()) {
    if (static_cast<std::int64_t>(file.mask().size()) != size(3))
      refuse(name, "its mask has " + std::to_string(file.mask().size()) + " columns, its k-space " + std::to_string(size(3)),
             "the mask has one value for each column of k-space");
    auto* mask = const_cast<std::uint8_t*>(file.mask().data());
    const at::Tensor columns = at::from_blob(mask, {size(3)}, at::kByte).to(at::kFloat);
    for (std::int64_t slice = 0; slice < size(0); ++slice) kspace[slice].mul_(columns);
  }
  GatheredKspace gathered;
  // Whole rows and columns of zeros were not acquired; a zero among others was measured.
  gathered.counts = slice_by_slice(kspace, scratch, [](const at::Tensor& slice) {
    const at::Tensor found = slice.abs().amax(0).gt(0);
    return found.any(0, true).logical_and(found.any(1, true)).to(at::kFloat);
  });
  const MrdEncoding& encoding = file.encoding();
  // Zero-padding leaves the field of view as it is: pixels are those of the k-space at hand.
  std::array<double, 3> fov_mm = {static_cast<double>(size(3)), static_cast<double>(size(2)), 1.0};
  std::int64_t kept = size(2);
  const bool known = encoding.present && is_length(encoding.encoded_fov_mm[0]) && is_length(encoding.encoded_fov_mm[1]);
  if (known) {
    fov_mm = {encoding.encoded_fov_mm[1], encoding.encoded_fov_mm[0], length_or_1(encoding.encoded_fov_mm[2])};
    kept = pixels_kept(size(2), encoding.encoded_fov_mm[0], encoding.recon_fov_mm[0]);
  } else {
    gathered.notes.push_back("the file does not say its field of view: pixels of 1 mm are assumed");
  }
  gathered.kspace = kspace;
  const bool whole_lines = all_slices(gathered.counts, [](const at::Tensor& slice) { return slice.eq(slice.amax(0, true)).all().item<bool>(); });
  if (kept < size(2) && !whole_lines) gathered.notes.push_back("readout oversampling is kept, because the readouts are partial (an asymmetric echo)");
  if (kept < size(2) && whole_lines) {
    gathered.counts = slice_by_slice(gathered.counts, scratch, [&](const at::Tensor& slice) { return slice.amax(0, true).expand({kept, size(3)}); });
    std::int64_t number = 0;
    gathered.kspace = slice_by_slice(kspace, scratch, [&](const at::Tensor& slice) { return without_oversampling(slice, 1, kept) * gathered.counts[number++]; });
  }
  gathered.geometry.spacing_mm = {fov_mm[0] / static_cast<double>(size(3)), fov_mm[1] / static_cast<double>(size(2)), fov_mm[2]};
  gathered.notes.push_back("a fastMRI file does not say where its slices lie: the geometry is that of the image alone");
  return gathered;
}

}  // namespace postrec
