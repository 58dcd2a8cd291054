// ITK through its ImageIO objects alone: no itk::Image, no factories, so that what is read depends on this file and nothing else.
//
// They run in child processes. ITK and the libraries in it print to stdout what they think of a header, corrupt the heap when a PNG meets a
// full disk, and load every library in the folders of ITK_AUTOLOAD_PATH.
#include "itk_file.hpp"

#include <ATen/ATen.h>
#include <itkJPEGImageIO.h>
#include <itkMetaImageIO.h>
#include <itkNiftiImageIO.h>
#include <itkNrrdImageIO.h>
#include <itkPNGImageIO.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "child_process.hpp"
#include "itk_axes.hpp"
#include "itk_component.hpp"
#include "payload.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

constexpr unsigned kMaxDimensions = 8;

/// What a child tells of an image; its pixels follow as float32 in ITK's order.
struct ItkHeader {
  bool finished;
  int disk_full;                               ///< the system's error when the pixels got no room
  std::uint64_t n_bytes;                       ///< that they need
  unsigned n_dimensions;
  std::int64_t size[kMaxDimensions];
  std::int64_t components;
  bool is_complex;
  double spacing[3], origin[3], direction[9];
};

itk::ImageIOBase::Pointer make_io(FileFormat format) {
  ::unsetenv("ITK_AUTOLOAD_PATH");
  switch (format) {
    case FileFormat::kNifti:
      return itk::NiftiImageIO::New().GetPointer();
    case FileFormat::kNrrd:
      return itk::NrrdImageIO::New().GetPointer();
    case FileFormat::kMetaImage:
      return itk::MetaImageIO::New().GetPointer();
    case FileFormat::kPng:
      return itk::PNGImageIO::New().GetPointer();
    case FileFormat::kJpeg:
      return itk::JPEGImageIO::New().GetPointer();
    default:
      throw Error(ErrorKind::kInternal, "ITK is not used for this format");
  }
}

/// Limits for work on n_bytes of pixels: a few copies as float, and a gzip of 1 MB/s at worst.
ChildLimits limits_for(std::uint64_t n_bytes) {
  return {(std::uint64_t{512} << 20) + 16 * n_bytes, static_cast<unsigned>(60 + n_bytes / 1000000)};
}

void describe(const itk::ImageIOBase& io, ItkHeader& header) {
  header.n_dimensions = io.GetNumberOfDimensions();
  header.components = io.GetNumberOfComponents();
  header.is_complex = io.GetPixelType() == itk::IOPixelEnum::COMPLEX;
  for (unsigned axis = 0; axis < std::min(header.n_dimensions, kMaxDimensions); ++axis)
    header.size[axis] = static_cast<std::int64_t>(io.GetDimensions(axis));
  const unsigned n = std::min(header.n_dimensions, 3u);
  for (unsigned axis = 0; axis < 3; ++axis) {
    header.spacing[axis] = axis < n ? io.GetSpacing(axis) : 1.0;
    header.origin[axis] = axis < n ? io.GetOrigin(axis) : 0.0;
    for (unsigned row = 0; row < 3; ++row)
      header.direction[3 * row + axis] = axis < n && row < n ? io.GetDirection(axis)[row] : axis == row;
  }
}

itk::ImageIORegion whole_region(const itk::ImageIOBase& io) {
  itk::ImageIORegion region(io.GetNumberOfDimensions());
  for (unsigned axis = 0; axis < io.GetNumberOfDimensions(); ++axis) region.SetSize(axis, io.GetDimensions(axis));
  return region;
}

constexpr std::uint64_t kBlockBytes = 64 << 20;

/// How many slices are read at once: as many as a block holds, where ITK can read a part of a file. A packed file is unpacked from its beginning for
/// each block, so blocks are large. Vector images have their components behind the slices.
std::int64_t slices_a_block(const itk::ImageIOBase& io, FileFormat format) {
  const unsigned n = io.GetNumberOfDimensions();
  const bool in_parts = (format == FileFormat::kNifti || format == FileFormat::kMetaImage) && n == 3 && io.GetNumberOfComponents() == 1;
  const auto n_slices = n == 3 ? static_cast<std::int64_t>(io.GetDimensions(2)) : 1;
  if (!in_parts) return n_slices;
  const std::uint64_t slice_bytes = static_cast<std::uint64_t>(io.GetImageSizeInBytes()) / static_cast<std::uint64_t>(n_slices);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(kBlockBytes / slice_bytes));
}

/// In the child.
void read_file(const std::filesystem::path& path, FileFormat format, std::uint64_t capacity, const SharedMemory& memory, ItkHeader& header, float* pixels) {
  const auto io = make_io(format);
  io->SetFileName(path.string());
  io->ReadImageInformation();
  describe(*io, header);
  io->SetIORegion(whole_region(*io));
  const std::uint64_t n_values = static_cast<std::uint64_t>(io->GetImageSizeInBytes()) / io->GetComponentSize();
  if (n_values > capacity) return;
  header.n_bytes = n_values * sizeof(float);
  header.disk_full = memory.try_reserve(sizeof(ItkHeader) + header.n_bytes);
  if (header.disk_full != 0) return;
  const std::int64_t n_slices = io->GetNumberOfDimensions() == 3 ? static_cast<std::int64_t>(io->GetDimensions(2)) : 1, block = slices_a_block(*io, format);
  std::vector<char> raw;
  for (std::int64_t first = 0; first < n_slices; first += block) {
    itk::ImageIORegion region = whole_region(*io);
    if (block < n_slices) {
      region.SetIndex(2, first);
      region.SetSize(2, static_cast<itk::SizeValueType>(std::min(block, n_slices - first)));
    }
    io->SetIORegion(region);
    const std::uint64_t n = region.GetNumberOfPixels() * io->GetNumberOfComponents();
    raw.resize(static_cast<std::size_t>(n * io->GetComponentSize()));
    io->Read(raw.data());
    if (!itk_values_to_float(io->GetComponentType(), raw.data(), n, pixels)) return;
    pixels += n;
  }
  header.finished = true;
}

/// ITK's sizes without those of 1 behind the third.
std::vector<std::int64_t> size_of(const ItkHeader& header, const std::filesystem::path& path) {
  std::vector<std::int64_t> size(header.size, header.size + std::min(header.n_dimensions, kMaxDimensions));
  while (size.size() > 3 && size.back() == 1) size.pop_back();
  if (size.size() > 3)
    throw Error(ErrorKind::kBadData,
                quoted_path(path) + " has " + std::to_string(size.size()) + " dimensions, the last of size " + std::to_string(size.back()),
                "an image has two or three; save one volume to a file of its own");
  size.resize(std::max<std::size_t>(size.size(), 2), 1);
  return size;
}

/// |D^T D - I| below this. Headers hold float32 quaternions or six decimals; 1e-3 rad over 300 mm is a third of a millimetre.
constexpr double kRotationTolerance = 1e-3;

}  // namespace

bool is_orthonormal(const ImageGeometry& geometry) {
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) {
      double product = 0.0;
      for (int row = 0; row < 3; ++row) product += geometry.direction[3 * row + a] * geometry.direction[3 * row + b];
      if (!(std::abs(product - (a == b)) <= kRotationTolerance)) return false;
    }
  return true;
}

namespace {

ImageGeometry geometry_of(const ItkHeader& header, const std::filesystem::path& path) {
  ImageGeometry geometry;
  std::copy_n(header.spacing, 3, geometry.spacing_mm.begin());
  std::copy_n(header.origin, 3, geometry.origin_mm.begin());
  std::copy_n(header.direction, 9, geometry.direction.begin());
  for (int axis = 0; axis < 3; ++axis) {
    require_spacing(path, geometry.spacing_mm[axis], axis + 1);
    if (!std::isfinite(geometry.origin_mm[axis]))
      throw Error(ErrorKind::kBadData, quoted_path(path) + " has an origin that is not finite", "repair the header");
  }
  if (!is_orthonormal(geometry))
    throw Error(ErrorKind::kBadData, quoted_path(path) + " has a direction matrix that is not orthonormal", "resample the image to a grid without shear");
  return geometry;
}

/// In the child. `values` are in ITK's order.
void write_file(const std::filesystem::path& path, FileFormat format, const void* values, at::ScalarType type,
                const std::vector<std::int64_t>& size, std::int64_t components, const ImageGeometry& geometry) {
  const auto io = make_io(format);
  const auto n = static_cast<unsigned>(size.size());
  io->SetNumberOfDimensions(n);
  for (unsigned axis = 0; axis < n; ++axis) {
    io->SetDimensions(axis, static_cast<itk::SizeValueType>(size[axis]));
    io->SetSpacing(axis, axis < 3 ? geometry.spacing_mm[axis] : 1.0);
    io->SetOrigin(axis, axis < 3 ? geometry.origin_mm[axis] : 0.0);
    std::vector<double> column(n, 0.0);
    for (unsigned row = 0; row < n; ++row) column[row] = axis < 3 && row < 3 ? geometry.direction[3 * row + axis] : axis == row;
    io->SetDirection(axis, column);
  }
  io->SetNumberOfComponents(static_cast<unsigned>(components));
  io->SetPixelType(components == 1              ? itk::IOPixelEnum::SCALAR
                   : format == FileFormat::kPng ? itk::IOPixelEnum::RGB
                                                : itk::IOPixelEnum::VECTOR);
  io->SetComponentType(type == at::kByte ? itk::IOComponentEnum::UCHAR : itk::IOComponentEnum::FLOAT);
  io->SetIORegion(whole_region(*io));
  io->SetFileName(path.string());
  io->Write(values);
}

/// What is said of a file in which ITK's child ended by `death` (nothing where it came back without an image).
Error unreadable(const std::filesystem::path& path, FileFormat format, const std::string& death) {
  if (format == FileFormat::kNifti)
    if (const std::string fault = nifti_sform_fault(path); !fault.empty())
      return {ErrorKind::kBadData, quoted_path(path) + " has no qform, and " + fault, "give it a qform, or resample it to a grid of right angles"};
  return {ErrorKind::kBadData, quoted_path(path) + " cannot be read by ITK" + (death.empty() ? "" : " (" + death + ")"),
          "its header is damaged or uses what ITK does not know; convert it with another program"};
}

}  // namespace

Image read_itk_file(const std::filesystem::path& path, FileFormat format, const std::filesystem::path& scratch) {
  // Every value takes at least a byte.
  const std::uint64_t capacity = check_payload(path, format);
  const auto memory = std::make_shared<SharedMemory>(sizeof(ItkHeader) + capacity * sizeof(float), scratch);
  memory->reserve(sizeof(ItkHeader));
  auto* header = static_cast<ItkHeader*>(memory->data());
  auto* values = reinterpret_cast<float*>(header + 1);
  const std::string death = run_in_child([&] { read_file(path, format, capacity, *memory, *header, values); }, limits_for(capacity));
  if (header->disk_full != 0) throw no_disk_space(scratch, header->n_bytes, header->disk_full);
  if (header->is_complex)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " holds complex numbers", "give magnitude images, or k-space as .cfl");
  if (!header->finished) throw unreadable(path, format, death);
  const std::vector<std::int64_t> size = size_of(*header, path);
  if (header->components != 1 && header->components != 3)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " has " + std::to_string(header->components) + " values a pixel",
                "one (gray) or three (red, green, blue) are read; remove an alpha channel");
  Image image;
  // What JPEG calls a resolution is that of a print.
  if (format != FileFormat::kJpeg) image.geometry = geometry_of(*header, path);
  // ITK 5.2 converts NIfTI's spacing to mm and leaves the origin.
  if (format == FileFormat::kNifti)
    for (double& place : image.geometry.origin_mm) place *= nifti_mm_per_unit(path);
  std::int64_t n_values = header->components;
  for (const std::int64_t n : size) n_values *= n;
  image.pixels = tensor_from_itk(at::from_blob(
                                     values, {n_values}, [memory](void*) {}, at::kFloat),
                                 size, header->components);
  return image;
}

void write_itk_file(const std::filesystem::path& path, FileFormat format, const at::Tensor& pixels, const ImageGeometry& geometry) {
  const at::Tensor values = itk_from_tensor(pixels);
  std::vector<std::int64_t> size = itk_size(pixels);
  if (format == FileFormat::kPng) size.resize(2);
  const void* data = values.data_ptr();
  const std::string death = run_in_child([&] { write_file(path, format, data, values.scalar_type(), size, pixels.size(-3), geometry); },
                                         limits_for(values.nbytes()));
  const Error incomplete(ErrorKind::kInputOutput, quoted_path(path) + " was not written completely", "check the free space");
  if (!death.empty()) throw incomplete;
  try {
    // ITK does not notice a full disk in every format, so what it wrote is read again.
    check_payload(path, format);
  } catch (const Error&) {
    throw incomplete;
  }
}

}  // namespace postrec
