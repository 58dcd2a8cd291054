#pragma once

#include <hdf5.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace postrec {

/// Only for a child process (child_process.hpp): Debian's HDF5 has many known ways to crash on a file made for it.

/// What is wrong with a file, said without its values; goes to the parent as text.
class Hdf5Problem : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An identifier of the library, closed at the end. Throws Hdf5Problem(problem) when there is none.
class Hdf5Id {
 public:
  Hdf5Id(hid_t id, herr_t (*close)(hid_t), const char* problem) : id_(id), close_(close) {
    if (id < 0) throw Hdf5Problem(problem);
  }
  ~Hdf5Id() {
    if (id_ >= 0) close_(id_);
  }
  Hdf5Id(Hdf5Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// Opens a file for reading, without filter plugins and without a word of the library on stderr.
Hdf5Id open_hdf5(const std::string& path);

/// Whether `parent` has an object of its own of this name: not a soft or external link.
bool has_own(hid_t parent, const char* name);

Hdf5Id open_group(hid_t parent, const char* name);

/// A data set whose data lie in this file (not external, not virtual) and are packed at most by gzip, behind own links only.
Hdf5Id open_dataset(hid_t parent, const char* name);

/// The sizes of a data set, at most 8.
std::vector<std::uint64_t> shape_of(hid_t dataset);

/// A data set of one text.
std::string read_text(hid_t parent, const char* name);

}  // namespace postrec
