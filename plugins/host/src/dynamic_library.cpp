#include "dynamic_library.hpp"

#include <dlfcn.h>

#include "postrec/error.hpp"

namespace postrec {

DynamicLibrary::DynamicLibrary(const std::filesystem::path& path) : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_) return;
  const char* reason = dlerror();
  throw Error(ErrorKind::kUnavailable, "cannot load '" + path.string() + "': " + (reason ? reason : "no reason given"),
              "rebuild the plugin on this system");
}

void* DynamicLibrary::symbol(const char* name) const { return dlsym(handle_, name); }

}  // namespace postrec
