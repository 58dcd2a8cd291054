#include "hdf5_file.hpp"

#include <algorithm>
#include <cstring>

namespace postrec {

namespace {

constexpr std::size_t kLongestText = 16 << 20;

void require_data_inside(hid_t dataset) {
  const Hdf5Id plist(H5Dget_create_plist(dataset), H5Pclose, "a data set cannot be opened");
  if (H5Pget_external_count(plist) != 0 || H5Pget_layout(plist) == H5D_VIRTUAL) throw Hdf5Problem("its data lie in another file");
  for (int i = 0; i < H5Pget_nfilters(plist); ++i) {
    unsigned flags = 0, config = 0;
    std::size_t n_values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(plist, static_cast<unsigned>(i), &flags, &n_values, nullptr, 0, nullptr, &config);
    const std::vector<H5Z_filter_t> allowed = {H5Z_FILTER_DEFLATE, H5Z_FILTER_SHUFFLE, H5Z_FILTER_FLETCHER32};
    if (std::find(allowed.begin(), allowed.end(), filter) == allowed.end()) throw Hdf5Problem("its data are packed by a filter other than gzip");
  }
}

}  // namespace

Hdf5Id open_hdf5(const std::string& path) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
  if (H5Fis_hdf5(path.c_str()) <= 0) throw Hdf5Problem("it is not an HDF5 file");
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "the HDF5 library fails");
  H5Pset_fapl_sec2(access);
  return Hdf5Id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose, "it is a damaged or truncated HDF5 file");
}

bool has_own(hid_t parent, const char* name) {
  H5L_info_t link{};
  return H5Lexists(parent, name, H5P_DEFAULT) > 0 && H5Lget_info(parent, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD;
}

Hdf5Id open_group(hid_t parent, const char* name) {
  if (!has_own(parent, name)) throw Hdf5Problem(std::string("it has no group '") + name + "' of its own");
  return Hdf5Id(H5Gopen2(parent, name, H5P_DEFAULT), H5Gclose, "a group cannot be opened");
}

Hdf5Id open_dataset(hid_t parent, const char* name) {
  if (!has_own(parent, name)) throw Hdf5Problem(std::string("it has no data set '") + name + "' of its own");
  Hdf5Id dataset(H5Dopen2(parent, name, H5P_DEFAULT), H5Dclose, "a data set cannot be opened");
  require_data_inside(dataset);
  return dataset;
}

std::vector<std::uint64_t> shape_of(hid_t dataset) {
  const Hdf5Id space(H5Dget_space(dataset), H5Sclose, "a data set has no shape");
  const int rank = H5Sget_simple_extent_ndims(space);
  if (rank < 0 || rank > 8) throw Hdf5Problem("a data set has no or too many axes");
  std::vector<hsize_t> sizes(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  return {sizes.begin(), sizes.end()};
}

std::string read_text(hid_t parent, const char* name) {
  const Hdf5Id dataset = open_dataset(parent, name);
  for (const std::uint64_t size : shape_of(dataset))
    if (size != 1) throw Hdf5Problem(std::string("'") + name + "' is not one text");
  const Hdf5Id type(H5Dget_type(dataset), H5Tclose, "a data set has no type");
  if (H5Tget_class(type) != H5T_STRING) throw Hdf5Problem(std::string("'") + name + "' is not a text");
  if (H5Tis_variable_str(type) > 0) {
    char* text = nullptr;
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, static_cast<void*>(&text)) < 0 || !text)
      throw Hdf5Problem(std::string("'") + name + "' cannot be read");
    std::string copy(text, ::strnlen(text, kLongestText));
    H5free_memory(text);
    return copy;
  }
  const std::size_t size = H5Tget_size(type);
  if (size > kLongestText) throw Hdf5Problem(std::string("'") + name + "' is too long");
  std::string text(size, '\0');
  if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0) throw Hdf5Problem(std::string("'") + name + "' cannot be read");
  text.resize(::strnlen(text.data(), size));
  return text;
}

}  // namespace postrec
