#include "dicom_pixels.hpp"

#include <ATen/ATen.h>
#include <itkGDCMImageIO.h>

#include <cmath>
#include <cstdlib>
#include <memory>

#include "child_process.hpp"
#include "itk_component.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

/// What the child tells beside the pixels.
struct Progress {
  std::uint64_t n_done;
  char problem[120];
};

/// GDCM rescales where it finds that the object type allows it (CT) and not elsewhere (MR), so that what it did is completed here.
void complete_rescale(const itk::GDCMImageIO& io, const DicomHeader& header, std::uint64_t n, float* values) {
  const double slope = io.GetRescaleSlope(), intercept = io.GetRescaleIntercept();
  if (!header.has_rescale || (slope == header.rescale_slope && intercept == header.rescale_intercept)) return;
  if (slope != 1.0 || intercept != 0.0) throw std::runtime_error("the decoder and the header disagree on RescaleSlope");
  for (std::uint64_t i = 0; i < n; ++i) values[i] = static_cast<float>(values[i] * header.rescale_slope + header.rescale_intercept);
}

void read_pixels(const DicomFile& file, std::uint64_t n, float* out) {
  const auto io = itk::GDCMImageIO::New();
  io->SetFileName(file.path.string());
  io->ReadImageInformation();
  const auto expected = [](bool right) {
    if (!right) throw std::runtime_error("the decoder finds another image size than the header says");
  };
  expected(io->GetDimensions(0) == static_cast<std::uint64_t>(file.header.columns) &&
           io->GetDimensions(1) == static_cast<std::uint64_t>(file.header.rows));
  expected(io->GetNumberOfDimensions() < 3 || io->GetDimensions(2) == 1);
  expected(io->GetNumberOfComponents() == static_cast<unsigned>(file.header.samples));
  itk::ImageIORegion region(io->GetNumberOfDimensions());
  for (unsigned d = 0; d < io->GetNumberOfDimensions(); ++d) region.SetSize(d, io->GetDimensions(d));
  io->SetIORegion(region);
  std::vector<char> raw(static_cast<std::size_t>(io->GetImageSizeInBytes()));
  expected(raw.size() == n * io->GetComponentSize());
  io->Read(raw.data());
  if (!itk_values_to_float(io->GetComponentType(), raw.data(), n, out)) throw std::runtime_error("its pixels are not numbers");
  complete_rescale(*io, file.header, n, out);
}

void read_all(const std::vector<DicomFile>& files, std::uint64_t n, float* pixels, Progress& progress) {
  ::unsetenv("ITK_AUTOLOAD_PATH");
  for (; progress.n_done < files.size(); ++progress.n_done) {
    try {
      read_pixels(files[progress.n_done], n, pixels + progress.n_done * n);
    } catch (const itk::ExceptionObject&) {
      // GDCM's text may quote the file.
      return void(std::strcpy(progress.problem, "the pixel decoder refuses it"));
    } catch (const std::runtime_error& error) {
      return void(std::strncpy(progress.problem, error.what(), sizeof(progress.problem) - 1));
    }
  }
}

}  // namespace

at::Tensor read_dicom_pixels(const std::vector<DicomFile>& files, const std::filesystem::path& scratch) {
  const DicomHeader& first = files.front().header;
  const auto n = static_cast<std::uint64_t>(first.rows * first.columns * first.samples);
  const std::size_t n_bytes = sizeof(Progress) + files.size() * n * sizeof(float);
  const auto memory = std::make_shared<SharedMemory>(n_bytes, scratch);
  memory->reserve(n_bytes);
  auto* progress = static_cast<Progress*>(memory->data());
  auto* pixels = reinterpret_cast<float*>(progress + 1);
  // A decoder holds a slice a few times over, as up to 8 bytes a value; 512 MiB are for its libraries and tables.
  const ChildLimits limits{(std::uint64_t{512} << 20) + 64 * n, static_cast<unsigned>(60 + files.size())};
  const std::string death = run_in_child([&] { read_all(files, n, pixels, *progress); }, limits);
  if (progress->n_done < files.size()) {
    const std::string& name = files[progress->n_done].name;
    if (!death.empty())
      throw Error(ErrorKind::kBadData, name + ": the pixel decoder died (" + death + ")", "the file is damaged; export it again");
    throw Error(ErrorKind::kBadData, name + ": " + progress->problem, "the file is damaged or of a kind that is not read; export it again");
  }
  return at::from_blob(
      pixels, {static_cast<std::int64_t>(files.size()), first.rows, first.columns, first.samples}, [memory](void*) {}, at::kFloat);
}

}  // namespace postrec
