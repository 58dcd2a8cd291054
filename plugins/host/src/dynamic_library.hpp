#pragma once

#include <filesystem>

namespace postrec {

/// A shared library that stays loaded until the program ends: unloading a user of LibTorch crashes, for LibTorch
/// keeps pointers into it.
class DynamicLibrary {
 public:
  /// Throws Error(kUnavailable) with the loader's reason.
  explicit DynamicLibrary(const std::filesystem::path& path);

  /// Null when the library does not export `name`.
  void* symbol(const char* name) const;

 private:
  void* handle_;
};

}  // namespace postrec
