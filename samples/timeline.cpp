// What the workers of a pool did and when, as a trace for Perfetto and as a picture.
#include <cofork/cofork.hpp>
#include <csignal>
#include <cstdio>

using namespace std::chrono_literals;

/// Some milliseconds of work.
int resize(int image) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(2000 + image * 7919 % 5000);
  while (std::chrono::steady_clock::now() < end) {
  }
  return image;
}

/// Many tiny ones.
int checksum(int block) {
  const auto end = std::chrono::steady_clock::now() + 50us;
  while (std::chrono::steady_clock::now() < end) {
  }
  return block % 251;
}

int parse(int document) {
  if (document == 3) std::raise(SIGSEGV);
  if (document == 5)
    for (volatile bool forever = true; forever;) {
    }
  return resize(document);
}

cofork::Task<> mixed_load(cofork::TraceRecorder& trace) {
  cofork::ProcessPoolExecutor pool(3);
  trace.attach(pool);

  std::vector<cofork::Future<int>> documents;
  for (int document = 0; document < 8; ++document)
    documents.push_back(pool.submit({.timeout = 2s, .grace = 50ms, .name = "parse"}, parse, document));

  auto images = pool.map(resize, std::views::iota(0, 120));
  int resized = 0;
  while (auto image = co_await images.next()) ++resized;

  auto blocks = pool.map(checksum, std::views::iota(0, 4000));
  int sum = 0;
  while (auto block = co_await blocks.next()) sum += *block;

  for (std::size_t document = 0; document < documents.size(); ++document) {
    try {
      co_await documents[document];
    } catch (const cofork::WorkerDied& error) {
      std::printf("document %zu: exit code %d\n", document, error.exitcode());
    } catch (const cofork::TimeoutError& error) {
      std::printf("document %zu: %s\n", document, error.what());
    }
  }
  std::printf("%d images, checksum %d\n", resized, sum);
  co_await pool.shutdown();
  std::printf("%llu tasks recorded, %llu dropped\n", static_cast<unsigned long long>(trace.tasks()),
              static_cast<unsigned long long>(trace.dropped()));
  std::puts(
      "timeline.svg opens in a browser: look for red and magenta bars (a crash, a timeout) and for gaps in a row");
  std::puts(
      "timeline.json opens in ui.perfetto.dev: select a bar to see how long its task was queued and how it ended");
}

int main() {
  cofork::TraceRecorder trace;
  cofork::run(mixed_load(trace));

  trace.write_json("timeline.json");
  trace.write_svg("timeline.svg");
}
