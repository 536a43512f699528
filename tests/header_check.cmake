# Every header compiles alone, and twice in one translation unit. Compiled only, never linked.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/runtime/*.hpp
     ${PROJECT_SOURCE_DIR}/ipc/*.hpp ${PROJECT_SOURCE_DIR}/executors/*.hpp)
list(TRANSFORM headers REPLACE "^executors/cofork\\.hpp$" "cofork.hpp")

set(checks)
foreach(header IN LISTS headers)
  string(REPLACE "/" "_" name ${header})
  set(check ${CMAKE_CURRENT_BINARY_DIR}/header_check/${name}.cpp)
  file(CONFIGURE OUTPUT ${check} CONTENT "#include <cofork/@header@>\n#include <cofork/@header@>\n" @ONLY)
  list(APPEND checks ${check})
endforeach()

add_library(header_check OBJECT ${checks})
cofork_own_target(header_check)
target_compile_options(header_check PRIVATE -O0 -g0)
target_link_libraries(header_check PRIVATE cofork::cofork)
if(COFORK_SANITIZE)
  set_target_properties(header_check PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
