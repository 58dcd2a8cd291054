# LibTorch as unpacked from its PyPI wheel by setup/fetch_libtorch.sh. The wheel's own CMake files insist on a CUDA toolkit,
# so this module names what is linked itself. Looks in POSTREC_LIBTORCH, then in the cache folder of that script.
#
# Targets: LibTorch::LibTorch.  Variables: LibTorch_VERSION, LibTorch_ROOT_DIR, LibTorch_CUDA (ON when libtorch_cuda is there).

set(_libtorch_version 2.11.0)
if(DEFINED ENV{POSTREC_DEPS_DIR})
  set(_libtorch_cache "$ENV{POSTREC_DEPS_DIR}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_libtorch_cache "$ENV{XDG_CACHE_HOME}/postrec")
else()
  set(_libtorch_cache "$ENV{HOME}/.cache/postrec")
endif()

# What was found in another one would stay, and a build folder never change from the CPU's LibTorch to that of CUDA.
if(POSTREC_LIBTORCH AND LibTorch_ROOT_DIR AND NOT LibTorch_ROOT_DIR STREQUAL POSTREC_LIBTORCH)
  unset(LibTorch_ROOT_DIR CACHE)
  foreach(_libtorch_library CPU C10 OPENMP CUDA)
    unset(LibTorch_${_libtorch_library}_LIBRARY CACHE)
  endforeach()
endif()

find_path(LibTorch_ROOT_DIR torch/include/ATen/ATen.h NO_DEFAULT_PATH
  HINTS "${POSTREC_LIBTORCH}" "$ENV{POSTREC_LIBTORCH}"
  PATHS "${_libtorch_cache}/libtorch-${_libtorch_version}-cuda" "${_libtorch_cache}/libtorch-${_libtorch_version}-cpu")

if(LibTorch_ROOT_DIR)
  file(STRINGS "${LibTorch_ROOT_DIR}/torch/include/torch/headeronly/version.h" _libtorch_lines
    REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" LibTorch_VERSION "${_libtorch_lines}")
  find_library(LibTorch_CPU_LIBRARY torch_cpu HINTS "${LibTorch_ROOT_DIR}/torch/lib" NO_DEFAULT_PATH)
  find_library(LibTorch_C10_LIBRARY c10 HINTS "${LibTorch_ROOT_DIR}/torch/lib" NO_DEFAULT_PATH)
  find_file(LibTorch_OPENMP_LIBRARY libgomp.so.1 HINTS "${LibTorch_ROOT_DIR}/torch/lib" NO_DEFAULT_PATH)
  find_library(LibTorch_CUDA_LIBRARY torch_cuda HINTS "${LibTorch_ROOT_DIR}/torch/lib" NO_DEFAULT_PATH)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_OPENMP_LIBRARY
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run setup/fetch_libtorch.sh, or set POSTREC_LIBTORCH to the folder that holds torch/include and torch/lib")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  # A cache folder is not a system folder; -isystem keeps its warnings out of ours.
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    "${LibTorch_ROOT_DIR}/torch/include" "${LibTorch_ROOT_DIR}/torch/include/torch/csrc/api/include")
  target_link_directories(LibTorch::LibTorch INTERFACE "${LibTorch_ROOT_DIR}/torch/lib")
  # at::parallel_for is an OpenMP loop in a header. The OpenMP runtime must be LibTorch's own: two of them in one process
  # would have two thread pools.
  target_compile_options(LibTorch::LibTorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  target_link_libraries(LibTorch::LibTorch INTERFACE "${LibTorch_CPU_LIBRARY}" "${LibTorch_C10_LIBRARY}" "${LibTorch_OPENMP_LIBRARY}")
  target_link_options(LibTorch::LibTorch INTERFACE
    "LINKER:-rpath-link,${LibTorch_ROOT_DIR}/nvidia/cu13/lib" "LINKER:-rpath-link,${LibTorch_ROOT_DIR}/torch/lib")
  if(LibTorch_CUDA_LIBRARY)
    set(LibTorch_CUDA ON)
    # Nothing of ours names a symbol of libtorch_cuda; loading it is what registers the CUDA kernels.
    target_link_options(LibTorch::LibTorch INTERFACE "LINKER:--no-as-needed" "${LibTorch_CUDA_LIBRARY}" "LINKER:--as-needed")
  endif()
endif()
mark_as_advanced(LibTorch_ROOT_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_OPENMP_LIBRARY LibTorch_CUDA_LIBRARY)
