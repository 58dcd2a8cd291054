// Runs HDF5 and the XML parser of ISMRMRD in a child process. The headers and values of readouts are read by names of the HDF5 types; the ISMRMRD
// library's own reader trusts the sizes that a header promises.
#include "mrd_file.hpp"

#include <ismrmrd/xml.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "hdf5_file.hpp"
#include "input_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kBytesPerReadout = 96;  // the least that a file needs for one: packing shrinks headers, which are mostly 0
constexpr std::uint64_t kMostMask = 65536;

/// Where the child writes. Capacities follow from the size of the file: values are hardly ever packed.
struct Room {
  MrdFile::Head* head;
  std::span<MrdReadout> readouts;
  std::span<std::complex<float>> values;
  std::span<std::uint8_t> mask;
  const SharedMemory* value_memory;

  /// Takes disk space for the first n values, some at a time.
  void reserve(std::uint64_t n) {
    constexpr std::uint64_t kStep = 1 << 20;
    if (n <= n_reserved) return;
    for (const std::uint64_t wanted : {std::min<std::uint64_t>(n + kStep, values.size()), n}) {
      head->disk_full = value_memory->try_reserve(wanted * sizeof(std::complex<float>));
      if (head->disk_full == 0) return void(n_reserved = wanted);
    }
    throw Hdf5Problem("no room");
  }
  std::uint64_t n_reserved = 0;
};

MrdEncoding encoding_of(const std::string& xml) {
  ISMRMRD::IsmrmrdHeader header;
  try {
    ISMRMRD::deserialize(xml.c_str(), header);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    throw Hdf5Problem("its XML header is not one of ISMRMRD");
  }
  if (header.encoding.empty()) throw Hdf5Problem("its XML header has no encoding");
  const ISMRMRD::Encoding& from = header.encoding.front();
  MrdEncoding encoding;
  encoding.present = true;
  encoding.trajectory = from.trajectory == ISMRMRD::TrajectoryType::CARTESIAN ? Trajectory::kCartesian : Trajectory::kOther;
  const auto sizes = [](const ISMRMRD::MatrixSize& m) { return std::array<std::uint16_t, 3>{m.x, m.y, m.z}; };
  const auto lengths = [](const ISMRMRD::FieldOfView_mm& f) { return std::array<float, 3>{f.x, f.y, f.z}; };
  encoding.encoded_size = sizes(from.encodedSpace.matrixSize);
  encoding.encoded_fov_mm = lengths(from.encodedSpace.fieldOfView_mm);
  encoding.recon_size = sizes(from.reconSpace.matrixSize);
  encoding.recon_fov_mm = lengths(from.reconSpace.fieldOfView_mm);
  if (const auto& lines = from.encodingLimits.kspace_encoding_step_1) {
    encoding.has_center_line = true;
    encoding.center_line = lines->center;
  }
  if (const auto& parallel = from.parallelImaging; parallel && parallel->calibrationMode) {
    const std::string& mode = *parallel->calibrationMode;
    if (mode == "separate" || mode == "external") encoding.calibration = Calibration::kSeparate;
  }
  if (const auto& system = header.acquisitionSystemInformation; system && system->relativeReceiverNoiseBandwidth) {
    encoding.noise_bandwidth = *system->relativeReceiverNoiseBandwidth;
    encoding.says_noise_bandwidth = true;
  }
  return encoding;
}

// ---- ISMRMRD ----

/// A readout as the library hands it over.
struct Acquisition {
  MrdReadout head;
  hvl_t data;
};

Hdf5Id new_compound(std::size_t size) { return Hdf5Id(H5Tcreate(H5T_COMPOUND, size), H5Tclose, "the HDF5 library fails"); }

/// Inserts a member if the file has one of this name; HDF5 fills by names and leaves the others as they are.
void insert(hid_t type, const char* name, std::size_t offset, hid_t member) {
  if (H5Tinsert(type, name, offset, member) < 0) throw Hdf5Problem("the HDF5 library fails");
}

Hdf5Id triple_type() {
  const hsize_t three = 3;
  return Hdf5Id(H5Tarray_create2(H5T_NATIVE_FLOAT, 1, &three), H5Tclose, "the HDF5 library fails");
}

/// The members of Acquisition under their names in the file. What lies in `idx` is at its place in MrdReadout all the same.
Hdf5Id acquisition_type() {
  const Hdf5Id idx = new_compound(sizeof(MrdReadout));
  const Hdf5Id head = new_compound(sizeof(MrdReadout));
  const Hdf5Id triple = triple_type();
  const std::size_t first = offsetof(MrdReadout, line);
  const std::pair<const char*, std::size_t> counters[] = {{"kspace_encode_step_1", offsetof(MrdReadout, line)},
                                                          {"kspace_encode_step_2", offsetof(MrdReadout, partition)},
                                                          {"slice", offsetof(MrdReadout, slice)},
                                                          {"contrast", offsetof(MrdReadout, contrast)},
                                                          {"phase", offsetof(MrdReadout, phase)},
                                                          {"repetition", offsetof(MrdReadout, repetition)},
                                                          {"set", offsetof(MrdReadout, set)}};
  for (const auto& [name, offset] : counters) insert(idx, name, offset - first, H5T_NATIVE_UINT16);
  H5Tset_size(idx, offsetof(MrdReadout, set) + sizeof(std::uint16_t) - first);
  const std::pair<const char*, std::size_t> sizes[] = {
      {"number_of_samples", offsetof(MrdReadout, n_samples)}, {"active_channels", offsetof(MrdReadout, n_coils)},
      {"discard_pre", offsetof(MrdReadout, discard_before)},  {"discard_post", offsetof(MrdReadout, discard_after)},
      {"center_sample", offsetof(MrdReadout, center_sample)}, {"encoding_space_ref", offsetof(MrdReadout, encoding)}};
  insert(head, "flags", offsetof(MrdReadout, flags), H5T_NATIVE_UINT64);
  for (const auto& [name, offset] : sizes) insert(head, name, offset, H5T_NATIVE_UINT16);
  insert(head, "idx", first, idx);
  insert(head, "sample_time_us", offsetof(MrdReadout, sample_time_us), H5T_NATIVE_FLOAT);
  insert(head, "position", offsetof(MrdReadout, position_mm), triple);
  insert(head, "read_dir", offsetof(MrdReadout, read_dir), triple);
  insert(head, "phase_dir", offsetof(MrdReadout, phase_dir), triple);
  const Hdf5Id numbers(H5Tvlen_create(H5T_NATIVE_FLOAT), H5Tclose, "the HDF5 library fails");
  Hdf5Id all = new_compound(sizeof(Acquisition));
  insert(all, "head", offsetof(Acquisition, head), head);
  insert(all, "data", offsetof(Acquisition, data), numbers);
  return all;
}

void keep(const Acquisition& acquisition, Room& room) {
  const MrdReadout& head = acquisition.head;
  const std::uint64_t n = std::uint64_t{head.n_samples} * head.n_coils;
  if (acquisition.data.len != 2 * n)
    throw Hdf5Problem("readout " + std::to_string(room.head->n_readouts) + " holds another number of values than its header says");
  if (n > room.values.size() - room.head->n_values) throw Hdf5Problem("it promises more values than it has room for");
  room.reserve(room.head->n_values + n);
  if (n > 0) std::memcpy(&room.values[room.head->n_values], acquisition.data.p, n * sizeof(std::complex<float>));
  MrdReadout& kept = room.readouts[room.head->n_readouts++];
  kept = head;
  kept.first_value = room.head->n_values;
  room.head->n_values += n;
}

void read_acquisitions(hid_t group, Room& room) {
  constexpr hsize_t kBlock = 64;
  const Hdf5Id dataset = open_dataset(group, "data");
  const auto shape = shape_of(dataset);
  const hsize_t n = shape.empty() ? 0 : shape.front();
  for (std::size_t axis = 1; axis < shape.size(); ++axis)
    if (shape[axis] != 1) throw Hdf5Problem("'data' is not a list of readouts");
  if (n == 0) throw Hdf5Problem("it holds no readouts");
  if (n > room.readouts.size()) throw Hdf5Problem("it promises more readouts than it has room for");
  const Hdf5Id type = acquisition_type();
  const Hdf5Id space(H5Dget_space(dataset), H5Sclose, "a data set has no shape");
  for (hsize_t first = 0; first < n; first += kBlock) {
    const hsize_t count = std::min(kBlock, n - first);
    std::vector<hsize_t> start(shape.size(), 0), counts(shape.size(), 1);
    start[0] = first;
    counts[0] = count;
    const Hdf5Id memory(H5Screate_simple(1, &count, nullptr), H5Sclose, "the HDF5 library fails");
    std::vector<Acquisition> block(count, Acquisition{});
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, counts.data(), nullptr);
    if (H5Dread(dataset, type, memory, space, H5P_DEFAULT, block.data()) < 0)
      throw Hdf5Problem("a readout from number " + std::to_string(first) + " on cannot be read: the file is damaged or truncated, or not of ISMRMRD");
    for (const Acquisition& acquisition : block) keep(acquisition, room);
    H5Dvlen_reclaim(type, memory, H5P_DEFAULT, block.data());
  }
}

// ---- fastMRI ----

void read_fast_mri(hid_t file, Room& room) {
  const Hdf5Id dataset = open_dataset(file, "kspace");
  const auto shape = shape_of(dataset);
  if (shape.size() < 3 || shape.size() > 4) throw Hdf5Problem("'kspace' is not [slice, coil, ky, kx] nor [slice, ky, kx]");
  room.head->shape =
      shape.size() == 4 ? std::array<std::uint64_t, 4>{shape[0], shape[1], shape[2], shape[3]} : std::array<std::uint64_t, 4>{shape[0], 1, shape[1], shape[2]};
  std::uint64_t n = 1;
  for (const std::uint64_t size : shape)
    if (size == 0 || __builtin_mul_overflow(n, size, &n)) throw Hdf5Problem("'kspace' is empty or larger than any file");
  if (n > room.values.size()) throw Hdf5Problem("it promises more values than it has room for");
  room.reserve(n);
  const Hdf5Id type = new_compound(sizeof(std::complex<float>));
  insert(type, "r", 0, H5T_NATIVE_FLOAT);
  insert(type, "i", sizeof(float), H5T_NATIVE_FLOAT);
  const Hdf5Id in_file(H5Dget_type(dataset), H5Tclose, "a data set has no type");
  if (H5Tget_class(in_file) != H5T_COMPOUND || H5Tget_member_index(in_file, "r") < 0 || H5Tget_member_index(in_file, "i") < 0)
    throw Hdf5Problem("'kspace' does not hold complex numbers of the members r and i");
  if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, room.values.data()) < 0)
    throw Hdf5Problem("'kspace' cannot be read: the file is damaged or truncated");
  room.head->n_values = n;
}

void read_mask(hid_t file, Room& room) {
  const Hdf5Id dataset = open_dataset(file, "mask");
  const auto shape = shape_of(dataset);
  if (shape.size() != 1 || shape[0] > room.mask.size()) throw Hdf5Problem("'mask' is not one value for each column of k-space");
  const Hdf5Id in_file(H5Dget_type(dataset), H5Tclose, "a data set has no type");
  // What h5py calls a bool is an enumeration of 0 and 1 in one byte.
  const bool is_bool = H5Tget_class(in_file) == H5T_ENUM && H5Tget_size(in_file) == 1;
  std::vector<float> numbers(shape[0]);
  std::vector<std::uint8_t> bytes(shape[0]);
  void* const target = is_bool ? static_cast<void*>(bytes.data()) : numbers.data();
  if (H5Dread(dataset, is_bool ? static_cast<hid_t>(in_file) : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, target) < 0)
    throw Hdf5Problem("'mask' cannot be read as numbers");
  for (std::size_t i = 0; i < shape[0]; ++i) room.mask[i] = is_bool ? bytes[i] != 0 : numbers[i] != 0.0f;
  room.head->n_mask = shape[0];
}

void read_any(const std::string& path, Room& room) {
  const Hdf5Id file = open_hdf5(path);
  if (has_own(file, "kspace")) {
    room.head->kind = MrdFile::Kind::kFastMri;
    if (has_own(file, "ismrmrd_header")) room.head->encoding = encoding_of(read_text(file, "ismrmrd_header"));
    read_fast_mri(file, room);
    if (has_own(file, "mask")) read_mask(file, room);
    return;
  }
  if (!has_own(file, "dataset")) throw Hdf5Problem("it has neither a group 'dataset' of its own (ISMRMRD) nor a data set 'kspace' (fastMRI)");
  room.head->kind = MrdFile::Kind::kIsmrmrd;
  const Hdf5Id group = open_group(file, "dataset");
  room.head->encoding = encoding_of(read_text(group, "xml"));
  read_acquisitions(group, room);
}

void read_and_tell(const std::string& path, Room& room) {
  try {
    read_any(path, room);
  } catch (const Hdf5Problem& problem) {
    std::strncpy(room.head->problem, problem.what(), sizeof(room.head->problem) - 1);
  }
}

}  // namespace

MrdFile::MrdFile(const fs::path& path, const fs::path& scratch) {
  const std::uint64_t n_bytes = check_input_file(path);
  const std::uint64_t n_readouts = n_bytes / kBytesPerReadout + 1, n_values = n_bytes;  // 8 times what an unpacked file can hold
  memory_ = std::make_shared<SharedMemory>(sizeof(Head) + n_readouts * sizeof(MrdReadout) + kMostMask);
  value_memory_ = std::make_shared<SharedMemory>(n_values * sizeof(std::complex<float>), scratch);
  auto* head = new (memory_->data()) Head{};
  auto* readouts = reinterpret_cast<MrdReadout*>(head + 1);
  auto* mask = reinterpret_cast<std::uint8_t*>(readouts + n_readouts);
  auto* values = static_cast<std::complex<float>*>(value_memory_->data());
  Room room{head, {readouts, n_readouts}, {values, n_values}, {mask, kMostMask}, value_memory_.get()};
  const ChildLimits limits{(std::uint64_t{1} << 30) + n_bytes, static_cast<unsigned>(60 + n_bytes / 20'000'000)};
  const std::string death = run_in_child([&] { read_and_tell(path.string(), room); }, limits);
  if (!death.empty()) throw Error(ErrorKind::kBadData, quoted_path(path) + ": the HDF5 reader died (" + death + ")", "the file is damaged; export it again");
  if (head->disk_full != 0) throw no_disk_space(scratch, n_bytes, head->disk_full);
  if (head->problem[0]) throw Error(ErrorKind::kBadData, quoted_path(path) + ": " + head->problem, "give an ISMRMRD or fastMRI file as it was exported");
  head_ = head;
  readouts_ = readouts;
  values_ = values;
  mask_ = mask;
}

}  // namespace postrec
