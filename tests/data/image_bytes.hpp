#pragma once

#include <zlib.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "files.hpp"
#include "postrec/image.hpp"

// Image files made byte by byte, so that what is read is compared with the formats' documents and not with what ITK wrote.
namespace postrec::test {

/// Prime sizes (x, y, z), all different, and an image in which every voxel tells where it is.
inline constexpr int kNx = 7, kNy = 5, kNz = 3;
inline float voxel(int x, int y, int z) { return static_cast<float>(x + 10 * y + 100 * z) + 0.25f; }

inline std::vector<float> voxels() {
  std::vector<float> values;
  for (int z = 0; z < kNz; ++z)
    for (int y = 0; y < kNy; ++y)
      for (int x = 0; x < kNx; ++x) values.push_back(voxel(x, y, z));
  return values;
}

/// An oblique direction: rotations about all three axes, LPS.
inline ImageGeometry oblique() {
  const double a = 0.3, b = -0.5, c = 1.1;
  const double ca = std::cos(a), sa = std::sin(a), cb = std::cos(b), sb = std::sin(b), cc = std::cos(c), sc = std::sin(c);
  ImageGeometry g;
  g.spacing_mm = {0.7, 1.1, 2.3};
  g.origin_mm = {-101.5, 37.25, 211.0};
  g.direction = {
      cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa, sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa, -sb, cb * sa,
      cb * ca};
  return g;
}

template <class T>
void put(std::string& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

/// A NIfTI-1 header and the voxels, float32, with this geometry in its sform (NIfTI is RAS).
inline std::string nifti_bytes(const ImageGeometry& g) {
  std::string h(352, '\0');
  put<std::int32_t>(h, 0, 348);
  const std::int16_t dim[8] = {3, kNx, kNy, kNz, 1, 1, 1, 1};
  for (int i = 0; i < 8; ++i) put<std::int16_t>(h, 40 + 2 * i, dim[i]);
  put<std::int16_t>(h, 70, 16);
  put<std::int16_t>(h, 72, 32);
  put<float>(h, 76, 1.0f);
  for (int axis = 0; axis < 3; ++axis) put<float>(h, 80 + 4 * axis, static_cast<float>(g.spacing_mm[axis]));
  put<float>(h, 108, 352.0f);
  put<std::int16_t>(h, 254, 1);
  for (int row = 0; row < 3; ++row) {
    const double ras = row < 2 ? -1.0 : 1.0;
    for (int axis = 0; axis < 3; ++axis)
      put<float>(h, 280 + 16 * row + 4 * axis, static_cast<float>(ras * g.direction[3 * row + axis] * g.spacing_mm[axis]));
    put<float>(h, 292 + 16 * row, static_cast<float>(ras * g.origin_mm[row]));
  }
  h[123] = 2;  // mm
  std::memcpy(h.data() + 344, "n+1", 4);
  return h + bytes_of(voxels());
}

inline std::string nrrd_header(const ImageGeometry& g, const std::string& encoding) {
  std::ostringstream h;
  h.precision(17);
  h << "NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: " << kNx << " " << kNy << " " << kNz
    << "\nspace directions:";
  for (int axis = 0; axis < 3; ++axis)
    h << " (" << g.direction[axis] * g.spacing_mm[axis] << "," << g.direction[3 + axis] * g.spacing_mm[axis] << ","
      << g.direction[6 + axis] * g.spacing_mm[axis] << ")";
  h << "\nkinds: domain domain domain\nendian: little\nencoding: " << encoding << "\nspace origin: (" << g.origin_mm[0] << ","
    << g.origin_mm[1] << "," << g.origin_mm[2] << ")\n";
  return h.str();
}

inline std::string meta_header(const ImageGeometry& g, const std::string& extra, const std::string& data_file) {
  std::ostringstream h;
  h.precision(17);
  h << "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n" << extra << "TransformMatrix =";
  for (int axis = 0; axis < 3; ++axis)
    for (int row = 0; row < 3; ++row) h << " " << g.direction[3 * row + axis];
  h << "\nOffset = " << g.origin_mm[0] << " " << g.origin_mm[1] << " " << g.origin_mm[2] << "\nElementSpacing = " << g.spacing_mm[0] << " "
    << g.spacing_mm[1] << " " << g.spacing_mm[2] << "\nDimSize = " << kNx << " " << kNy << " " << kNz
    << "\nElementType = MET_FLOAT\nElementDataFile = " << data_file << "\n";
  return h.str();
}

/// gzip (window 15 + 16) or zlib (15).
inline std::string deflated(const std::string& bytes, int window) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
  std::string out(bytes.size() + 1024, '\0');
  stream.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<unsigned char*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
inline constexpr int kGzip = 31, kZlib = 15;

/// A named file of each format, all of the same image. `main` is the file to read, `data` the one that holds the pixels.
struct Sample {
  std::string name;
  fs::path main;
  fs::path data;
};

inline std::vector<Sample> write_samples(const TempFolder& folder, const ImageGeometry& g) {
  const std::string raw = bytes_of(voxels());
  const std::string packed = deflated(raw, kZlib);
  write_bytes_to(folder / "a.nii", nifti_bytes(g));
  write_bytes_to(folder / "b.nii.gz", deflated(nifti_bytes(g), kGzip));
  write_bytes_to(folder / "c.nrrd", nrrd_header(g, "raw") + "\n" + raw);
  write_bytes_to(folder / "d.nrrd", nrrd_header(g, "gzip") + "\n" + deflated(raw, kGzip));
  write_bytes_to(folder / "e.nhdr", nrrd_header(g, "raw") + "data file: e.raw\n");
  write_bytes_to(folder / "e.raw", raw);
  write_bytes_to(folder / "f.mha", meta_header(g, "", "LOCAL") + raw);
  write_bytes_to(folder / "g.mha",
                 meta_header(g, "CompressedData = True\nCompressedDataSize = " + std::to_string(packed.size()) + "\n", "LOCAL") + packed);
  write_bytes_to(folder / "h.mhd", meta_header(g, "", "h.raw"));
  write_bytes_to(folder / "h.raw", raw);
  return {{"nii", folder / "a.nii", folder / "a.nii"},    {"niigz", folder / "b.nii.gz", folder / "b.nii.gz"},
          {"nrrd", folder / "c.nrrd", folder / "c.nrrd"}, {"nrrdgz", folder / "d.nrrd", folder / "d.nrrd"},
          {"nhdr", folder / "e.nhdr", folder / "e.raw"},  {"mha", folder / "f.mha", folder / "f.mha"},
          {"mhaz", folder / "g.mha", folder / "g.mha"},   {"mhd", folder / "h.mhd", folder / "h.raw"}};
}

}  // namespace postrec::test
