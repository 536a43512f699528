# Choices for a build of cofork itself; a project that takes cofork in by add_subdirectory makes its own.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(COFORK_CCACHE ccache)
if(COFORK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${COFORK_CCACHE})
endif()

if(COFORK_SANITIZE)
  add_compile_options(-fsanitize=${COFORK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=${COFORK_SANITIZE})
endif()
