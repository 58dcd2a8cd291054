#include "ct_radon/device_work.hpp"
#include "postrec/for_each_index.cuh"

namespace postrec::ct {
namespace {

struct OnCuda {
  template <class Work>
  static void over(const Work& work, std::int64_t size, void* stream, const char* what) {
    for_each_index(work, size, static_cast<cudaStream_t>(stream), what);
  }
};

}  // namespace

const Launcher& cuda_launcher() {
  static const Launcher launcher = LauncherOf<OnCuda>::make();
  return launcher;
}

}  // namespace postrec::ct
