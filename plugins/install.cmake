# What an author of plugins gets: cmake --install build --component plugin_sdk. The builtin plugins are the component plugins.
include(CMakePackageConfigHelpers)
set(package_dir lib/cmake/postrec)

install(TARGETS postrec_plugin_abi postrec_plugin_sdk EXPORT postrecTargets)
install(EXPORT postrecTargets NAMESPACE postrec:: DESTINATION ${package_dir} COMPONENT plugin_sdk)
install(FILES abi/postrec/abi.h sdk/postrec/plugin.hpp
  ${PROJECT_SOURCE_DIR}/core/include/postrec/error.hpp
  ${PROJECT_SOURCE_DIR}/core/include/postrec/parameters.hpp
  ${PROJECT_SOURCE_DIR}/core/include/postrec/operator.hpp
  ${PROJECT_SOURCE_DIR}/core/include/postrec/out_of_memory.hpp
  DESTINATION include/postrec COMPONENT plugin_sdk)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/postrecConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/postrecConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/postrecConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/postrecConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/postrecConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake
  ${PROJECT_SOURCE_DIR}/cmake/postrec_add_plugin.cmake
  ${PROJECT_SOURCE_DIR}/cmake/postrec_write_manifest.cmake
  DESTINATION ${package_dir} COMPONENT plugin_sdk)
