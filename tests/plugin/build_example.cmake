# Installs the SDK and the builtin plugins, builds plugins/example against the installation, runs its tests, checks its plugins and the
# installed ones. Arguments: build source work libtorch generator c_compiler cxx_compiler check.
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
  -D POSTREC_LIBTORCH=${libtorch} -D CMAKE_C_COMPILER=${c_compiler} -D CMAKE_CXX_COMPILER=${cxx_compiler})
run(${CMAKE_COMMAND} --build ${work}/build)
run(${CMAKE_CTEST_COMMAND} --test-dir ${work}/build --output-on-failure)
run(${check} ${work}/build row-sum channel-gain)
message("${output}")
run(${check} ${prefix}/lib/postrec/plugins grayscale)

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
