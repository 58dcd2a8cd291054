# Installs the SDK and the builtin plugins, builds plugins/example against the installation, runs its tests, checks its plugins and the
# installed ones. Arguments: build source work libtorch generator c_compiler cxx_compiler cuda_compiler (empty: none) check.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    message(FATAL_ERROR "${command}\nended with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${work}")
set(prefix "${work}/prefix")
foreach(component plugin_sdk plugins)
  run(${CMAKE_COMMAND} --install ${build} --prefix ${prefix} --component ${component})
endforeach()

# The source is copied out of the tree: an include that reached back into it would fail here.
file(COPY "${source}/" DESTINATION "${work}/source")
run(${CMAKE_COMMAND} -G ${generator} -S ${work}/source -B ${work}/build -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH=${prefix}
  -D POSTREC_LIBTORCH=${libtorch} -D CMAKE_C_COMPILER=${c_compiler} -D CMAKE_CXX_COMPILER=${cxx_compiler}
  -D CMAKE_CUDA_HOST_COMPILER=${cxx_compiler} -D CMAKE_CUDA_COMPILER=${cuda_compiler})
run(${CMAKE_COMMAND} --build ${work}/build)
run(${CMAKE_CTEST_COMMAND} --test-dir ${work}/build --output-on-failure)
run(${check} ${work}/build row-sum channel-gain)
message("${output}")
run(${check} ${prefix}/lib/postrec/plugins grayscale)

# The CUDA plugin keeps the laws, or there is no GPU and one line says so.
if(cuda_compiler)
  execute_process(COMMAND ${check} ${work}/build/cuda downsample RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE error)
  if(NOT result EQUAL 0 AND NOT error MATCHES "^operator 'downsample' works on CUDA only, and there is no CUDA device[^\n]*\n$")
    message(FATAL_ERROR "check_plugins downsample ended with ${result}:\n${output}${error}")
  endif()
  message("${output}${error}")
endif()

# It is a project of its own, that needs no LibTorch; without a CUDA compiler it says so and tests the arithmetic.
run(${CMAKE_COMMAND} -G ${generator} -S ${work}/source/cuda -B ${work}/cuda -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_CXX_COMPILER=${cxx_compiler}
  -D CMAKE_CUDA_COMPILER=)
if(NOT output MATCHES "downsample: not built, no CUDA compiler was found" OR output MATCHES "LibTorch")
  message(FATAL_ERROR "the CUDA example alone: ${output}")
endif()
run(${CMAKE_COMMAND} --build ${work}/cuda)
run(${CMAKE_CTEST_COMMAND} --test-dir ${work}/cuda --output-on-failure --no-tests=error)

# Another LibTorch than the program's is refused when configuring.
file(READ "${prefix}/lib/cmake/postrec/postrecConfig.cmake" config)
string(REGEX REPLACE "find_dependency\\(LibTorch [0-9.]+ EXACT\\)" "find_dependency(LibTorch 2.15.0 EXACT)" other "${config}")
if(other STREQUAL config)
  message(FATAL_ERROR "postrecConfig.cmake does not ask for an exact LibTorch")
endif()
file(WRITE "${prefix}/lib/cmake/postrec/postrecConfig.cmake" "${other}")
execute_process(COMMAND ${CMAKE_COMMAND} -G ${generator} -S ${work}/source -B ${work}/other -D CMAKE_PREFIX_PATH=${prefix}
  -D POSTREC_LIBTORCH=${libtorch} RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE output)
if(result EQUAL 0 OR NOT output MATCHES "LibTorch")
  message(FATAL_ERROR "configuring with another LibTorch was not refused: ${output}")
endif()
