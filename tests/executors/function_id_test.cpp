#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cofork/executors/function_id.hpp>
#include <cofork/runtime/errors.hpp>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/forked.hpp"

using namespace cofork::detail;

namespace {

int answer() { return 42; }

template <class T>
T instantiated() {
  return T(7);
}

AnyFunction any(auto* function) { return reinterpret_cast<AnyFunction>(function); }

/// A library of the system that is not loaded yet, with a function in it.
struct UnusedLibrary {
  const char* name;
  const char* function;

  static UnusedLibrary find() {
    for (const UnusedLibrary library : {UnusedLibrary{"libz.so.1", "zlibVersion"},
                                        {"libbz2.so.1.0", "BZ2_bzlibVersion"},
                                        {"liblzma.so.5", "lzma_version_string"},
                                        {"libresolv.so.2", "__ns_get16"}}) {
      if (void* const loaded = dlopen(library.name, RTLD_NOW | RTLD_NOLOAD)) {
        dlclose(loaded);
      } else if (void* const there = dlopen(library.name, RTLD_NOW)) {
        dlclose(there);
        return library;
      }
    }
    return {};
  }
};

class Loaded {
 public:
  explicit Loaded(const UnusedLibrary& library) : handle_(dlopen(library.name, RTLD_NOW)) {
    support::require(handle_ != nullptr, "dlopen");
    function_ = reinterpret_cast<AnyFunction>(dlsym(handle_, library.function));
    support::require(function_ != nullptr, "dlsym");
  }
  ~Loaded() { dlclose(handle_); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  AnyFunction function() const { return function_; }

 private:
  void* handle_;
  AnyFunction function_;
};

bool is_refused(const FunctionId& id) {
  try {
    resolve(id);
  } catch (const cofork::DecodeError& error) {
    return std::string(error.what()).find("loaded after the pool's template process was forked") != std::string::npos;
  }
  return false;
}

}  // namespace

TEST_CASE("a function of the program is found again by its id") {
  CHECK(resolve(identify(any(&answer))) == any(&answer));
  CHECK(resolve(identify(any(&instantiated<int>))) == any(&instantiated<int>));
  const auto lambda = [](int x) { return 2 * x; };
  CHECK(resolve(identify(any(+lambda))) == any(+lambda));
  CHECK(identify(any(&instantiated<int>)) != identify(any(&instantiated<double>)));
}

TEST_CASE("a function of a library is found again by its id") {
  CHECK(resolve(identify(any(&std::atoi))) == any(&std::atoi));
  CHECK(resolve(identify(any(&identify))) == any(&identify));
}

TEST_CASE("a forked process finds the functions of its parent") {
  const FunctionId own = identify(any(&answer));
  const FunctionId foreign = identify(any(&std::atoi));
  remember_modules();
  const auto child = support::in_child([&] {
    support::require(reinterpret_cast<int (*)()>(resolve(own))() == 42, "a function of the program");
    support::require(resolve(foreign) == any(&std::atoi), "a function of a library");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("an address without code is refused") {
  static int data = 0;
  CHECK_THROWS_AS(identify(reinterpret_cast<AnyFunction>(&data)), std::invalid_argument);
  CHECK_THROWS_AS(identify(nullptr), std::invalid_argument);
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  CHECK_THROWS_AS(identify(reinterpret_cast<AnyFunction>(page)), std::invalid_argument);
  CHECK(munmap(page, 4096) == 0);
}

TEST_CASE("an id that names no code is refused") {
  const FunctionId good = identify(any(&answer));
  CHECK(is_refused({good.module + 1, good.offset}));
  CHECK(is_refused({good.module, std::uint64_t{1} << 40}));
  CHECK(is_refused({good.module, ~std::uint64_t{0}}));
  CHECK(is_refused({good.module, 0}));  // the program's headers, not its code
}

TEST_CASE("a library that was loaded after the fork is refused until the worker loads it itself") {
  const UnusedLibrary library = UnusedLibrary::find();
  if (!library.name) return;
  FunctionId id;
  {
    const Loaded loaded(library);
    id = identify(loaded.function());
    CHECK(resolve(id) == loaded.function());
    const auto child =
        support::in_child([&] { support::require(resolve(id) == loaded.function(), "loaded before the fork"); });
    INFO(child.output);
    CHECK(child.succeeded());
  }
  remember_modules();
  const auto child = support::in_child([&] {
    support::require(is_refused(id), "not loaded");
    const Loaded loaded(library);
    support::require(resolve(id) == loaded.function(), "loaded by the worker");
  });
  INFO(child.output);
  CHECK(child.succeeded());
}

TEST_CASE("a function of a library that was unloaded is refused") {
  const UnusedLibrary library = UnusedLibrary::find();
  if (!library.name) return;
  AnyFunction function;
  {
    const Loaded loaded(library);
    function = loaded.function();
    CHECK_NOTHROW(identify(function));
  }
  CHECK_THROWS_AS(identify(function), std::invalid_argument);
}

TEST_CASE("functions and types have names to show") {
  CHECK(function_name(any(&getppid)) == "getppid");
  CHECK(function_name(reinterpret_cast<AnyFunction>(0x10)) == "function at 0x10");
  CHECK(type_name(typeid(std::vector<int>)) == "std::vector<int, std::allocator<int> >");
  CHECK(type_name(typeid(int)) == "int");
}
