include(CMakePackageConfigHelpers)

foreach(folder IN ITEMS runtime ipc executors)
  install(
    DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}/
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cofork/${folder}
    FILES_MATCHING
    PATTERN "*.hpp"
    PATTERN "cofork.hpp" EXCLUDE)
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/executors/cofork.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cofork)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(TARGETS cofork EXPORT cofork-targets)
set(COFORK_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/cofork)
install(EXPORT cofork-targets NAMESPACE cofork:: DESTINATION ${COFORK_CMAKE_DIR})

# A static library brings its users everything it links to; of a shared one they need fmt, for its formatters.
get_target_property(COFORK_LIBRARY_TYPE cofork TYPE)
if(COFORK_LIBRARY_TYPE STREQUAL "STATIC_LIBRARY")
  set(COFORK_PC_REQUIRES "Requires: libuv >= 1.44, fmt")
else()
  set(COFORK_PC_REQUIRES "Requires: fmt\nRequires.private: libuv >= 1.44")
endif()

configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/cofork-config.cmake.in ${PROJECT_BINARY_DIR}/cofork-config.cmake
  INSTALL_DESTINATION ${COFORK_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cofork-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cofork-config.cmake ${PROJECT_BINARY_DIR}/cofork-config-version.cmake
        DESTINATION ${COFORK_CMAKE_DIR})

# The .pc file finds its prefix from where it lies, so that an installed tree may be moved.
file(RELATIVE_PATH COFORK_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/cofork.pc.in ${PROJECT_BINARY_DIR}/cofork.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cofork.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
