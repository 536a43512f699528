// A task that crashes, one that hangs and one that throws: each fails alone, and the pool goes on.
#include <cofork/cofork.hpp>
#include <csignal>
#include <cstdio>
#include <stdexcept>

using namespace std::chrono_literals;

int parse(int document) {
  if (document == 1) std::raise(SIGSEGV);
  if (document == 2)
    for (volatile bool forever = true; forever;) {
    }
  if (document == 3) throw std::invalid_argument("document 3 is not well-formed");
  return document * 100;
}

cofork::Task<> parse_all() {
  cofork::ProcessPoolExecutor pool(2);
  for (int document = 0; document < 5; ++document) {
    try {
      int size = co_await pool.submit({.timeout = 2s, .name = "parse"}, parse, document);
      std::printf("%d: %d\n", document, size);
    } catch (const cofork::WorkerDied& error) {
      std::printf("%d: its worker died with exit code %d\n", document, error.exitcode());
    } catch (const cofork::TimeoutError& error) {
      std::printf("%d: %s\n", document, error.what());
    } catch (const std::invalid_argument& error) {
      std::printf("%d: %s\n", document, error.what());
    }
  }
}

int main() { cofork::run(parse_all()); }
