# What the library, its tests, samples and benchmarks have in common, and what nobody else's targets get.
function(cofork_own_target target)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow $<$<BOOL:${COFORK_WERROR}>:-Werror>)
  # g++ takes the sanitizers' own code for uses of uninitialised values (its manual says so of -fsanitize).
  if(COFORK_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
endfunction()

# Others' headers that most sources include, read once for a target of many sources: a tenth to a half of what compiling
# them takes. None of cofork's own, so that a change in one compiles only what includes it. Sources have to compile
# without, too, which hides no missing #include: so they do unless COFORK_PRECOMPILE_HEADERS is ON.
function(cofork_precompile_headers target)
  if(COFORK_PRECOMPILE_HEADERS)
    target_precompile_headers(
      ${target} PRIVATE <algorithm> <array> <atomic> <chrono> <coroutine> <deque> <exception> <filesystem> <functional>
      <map> <memory> <mutex> <optional> <ranges> <span> <stdexcept> <string> <system_error> <thread> <tuple>
      <unordered_map> <variant> <vector> <fmt/format.h> <uv.h> ${ARGN})
  endif()
endfunction()
