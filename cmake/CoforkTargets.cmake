# What the library, its tests, samples and benchmarks have in common, and what nobody else's targets get.
function(cofork_own_target target)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow $<$<BOOL:${COFORK_WERROR}>:-Werror>)
  # g++ takes the sanitizers' own code for uses of uninitialised values (its manual says so of -fsanitize).
  if(COFORK_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
endfunction()
