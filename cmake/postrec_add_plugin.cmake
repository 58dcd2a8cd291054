# postrec_add_plugin(NAME LIBTORCH|C ID id VERSION version LICENCE licence OPERATORS name... SOURCES file... [DESTINATION folder])
#
# Makes the plugin library NAME.so and, beside it after each link, its manifest NAME.postrec.json with the library's sha256.
#   LIBTORCH     a C++ plugin that includes postrec/plugin.hpp; C: one that needs postrec/abi.h alone (C, C++ or CUDA)
#   ID, VERSION, OPERATORS   the same as the source says: the program refuses a plugin whose manifest and library differ
#   DESTINATION  install both there, relative to the prefix; lib/postrec/plugins is where the program looks
#
# The library exports the one symbol of the boundary and carries no search path: it uses the LibTorch that the program has loaded.

function(postrec_add_plugin name)
  cmake_parse_arguments(arg "LIBTORCH;C" "ID;VERSION;LICENCE;DESTINATION" "OPERATORS;SOURCES" ${ARGN})
  foreach(member ID VERSION LICENCE OPERATORS SOURCES)
    if(NOT arg_${member})
      message(FATAL_ERROR "postrec_add_plugin(${name}): ${member} is missing")
    endif()
  endforeach()
  if((arg_LIBTORCH AND arg_C) OR NOT (arg_LIBTORCH OR arg_C))
    message(FATAL_ERROR "postrec_add_plugin(${name}): say either LIBTORCH or C")
  endif()

  add_library(${name} MODULE ${arg_SOURCES})
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX .so POSITION_INDEPENDENT_CODE ON
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    # The file that is hashed is the file that is installed: nothing in it depends on where LibTorch lay.
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "" INSTALL_RPATH_USE_LINK_PATH OFF)
  set(exports "${CMAKE_CURRENT_BINARY_DIR}/${name}.exports")
  # file(GENERATE) leaves a file that has not changed alone, so that configuring again links nothing again.
  file(GENERATE OUTPUT "${exports}" CONTENT "{ global: postrec_plugin_v1; local: *; };\n")
  target_link_options(${name} PRIVATE "LINKER:--version-script=${exports}")
  if(arg_LIBTORCH)
    target_link_libraries(${name} PRIVATE postrec::plugin_sdk)
    set(libtorch "${LibTorch_VERSION}")
  else()
    target_link_libraries(${name} PRIVATE postrec::plugin_abi)
    set(libtorch "")
  endif()

  get_target_property(abi postrec::plugin_abi POSTREC_ABI_VERSION)
  string(REPLACE ";" "\", \"" operators "\"${arg_OPERATORS}\"")
  set(body "${CMAKE_CURRENT_BINARY_DIR}/${name}.manifest-body")
  string(CONCAT manifest "  \"id\": \"${arg_ID}\",\n  \"version\": \"${arg_VERSION}\",\n  \"licence\": \"${arg_LICENCE}\",\n"
    "  \"abi\": \"${abi}\",\n  \"libtorch\": \"${libtorch}\",\n  \"operators\": [${operators}],\n")
  file(GENERATE OUTPUT "${body}" CONTENT "${manifest}")
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/postrec_write_manifest.cmake")
  set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS "${body};${script}")
  add_custom_command(TARGET ${name} POST_BUILD VERBATIM
    COMMAND ${CMAKE_COMMAND} -D "library=$<TARGET_FILE:${name}>" -D "body=${body}" -P "${script}")

  if(arg_DESTINATION)
    install(TARGETS ${name} LIBRARY DESTINATION ${arg_DESTINATION} COMPONENT plugins)
    # Written anew, because an installation may strip the library.
    install(CODE "set(library \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${arg_DESTINATION}/${name}.so\")
      execute_process(COMMAND \"${CMAKE_COMMAND}\" -D \"library=\${library}\" -D \"body=${body}\" -P \"${script}\" RESULT_VARIABLE failed)
      if(failed)
        message(FATAL_ERROR \"the manifest of ${name} could not be written\")
      endif()" COMPONENT plugins)
  endif()
endfunction()
