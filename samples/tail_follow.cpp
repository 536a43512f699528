// tail_follow FILE
//
// Shows the last ten lines of a file and then what is appended to it, as `tail -F` does: also when the file is cut, or
// replaced by a new one of its name. SIGINT or SIGTERM ends it.
#include <cofork/cofork.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <variant>
#include <vector>

namespace fs = std::filesystem;
using cofork::File;
using cofork::FileChange;
using cofork::Stream;
using cofork::Task;

/// The position of the last ten lines.
Task<std::uint64_t> start_of_last_lines(File& file) {
  std::vector<std::byte> block(64 * 1024);
  cofork::FileInfo info = co_await file.stat();
  int lines = 0;
  for (std::uint64_t end = info.size; end > 0;) {
    std::uint64_t start = end > block.size() ? end - block.size() : 0;
    std::size_t size = co_await file.read_at(std::span(block).first(end - start), start);
    for (std::size_t i = size; i > 0; --i) {
      bool last_byte = start + i == info.size;
      if (block[i - 1] == std::byte('\n') && !last_byte && ++lines == 10) co_return start + i;
    }
    end = start;
  }
  co_return 0;
}

Task<> show_rest(File& file) {
  cofork::FileInfo info = co_await file.stat();
  if (info.size < file.tell()) {
    std::puts("(the file was cut)");
    file.seek(0);
  }
  std::vector<std::byte> block(64 * 1024);
  for (;;) {
    std::size_t size = co_await file.read(block);
    if (size == 0) break;
    std::fwrite(block.data(), 1, size, stdout);
  }
  std::fflush(stdout);
}

Task<> follow(fs::path path) {
  // Both before the first look at the file: nothing that happens later is missed.
  Stream<int> stop = cofork::signals({SIGINT, SIGTERM});
  Stream<FileChange> changes = cofork::watch(fs::absolute(path).parent_path());

  File file = co_await File::open(path);
  std::uint64_t start = co_await start_of_last_lines(file);
  file.seek(static_cast<std::int64_t>(start));
  co_await show_rest(file);

  for (;;) {
    auto event = co_await cofork::select(changes.next(), stop.next());
    if (event.index() == 1) break;
    const auto& change = std::get<0>(event);
    if (!change) break;  // the directory is gone
    bool all_files = change->kind == FileChange::Kind::lost;
    if (!all_files && change->name != path.filename()) continue;

    co_await show_rest(file);
    bool replaced = change->kind == FileChange::Kind::created || change->kind == FileChange::Kind::moved_here;
    if (!replaced) continue;
    std::puts("(a new file)");
    file = co_await File::open(path);
    co_await show_rest(file);
  }
  std::puts("(the end)");
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: tail_follow FILE\n", stderr);
    return 2;
  }
  try {
    cofork::run(follow(argv[1]));
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "tail_follow: %s\n", error.what());
    return 1;
  }
}
