// near_duplicates DIR [--workers N] [--serial]
//
// Finds the most similar pairs of text files below a directory. Workers read the files and compute a MinHash signature
// of each; the parent finds the directory's files meanwhile and then compares the signatures. With --serial everything
// is done once more in this process alone, to compare.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "min_hash.hpp"

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t pairs_shown = 10;
constexpr std::size_t skipped_shown = 5;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// What a worker sends back: an aggregate travels as it is.
struct Document {
  std::string path{};
  std::uint64_t bytes = 0;
  MinHashSignature signature{};
  std::string problem{};  ///< why there is no signature

  bool operator==(const Document&) const = default;
};

/// The function that runs in the workers. What is wrong with a file is part of its result.
Document sign(std::string path) {
  Document document{.path = std::move(path)};
  std::ifstream file(document.path, std::ios::binary);
  MinHash hash;
  std::vector<char> block(64 * 1024);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    const std::string_view text(block.data(), static_cast<std::size_t>(file.gcount()));
    document.bytes += text.size();
    if (text.find('\0') != std::string_view::npos) {
      document.problem = "binary";
      return document;
    }
    hash.add(text);
  }
  if (!file.eof()) {
    document.problem = std::generic_category().message(errno);
  } else if (document.bytes == 0) {
    document.problem = "empty";
  } else {
    document.signature = hash.finish();
    if (document.signature.empty()) document.problem = "no words in it";
  }
  return document;
}

/// The regular files below a directory, as they are found; symbolic links are not followed. A directory that cannot be
/// read is given too, so that whoever tries to read it learns why.
cofork::Stream<std::string> files_below(fs::path root) {
  std::vector<fs::path> directories = {std::move(root)};
  while (!directories.empty()) {
    const fs::path directory = std::move(directories.back());
    directories.pop_back();
    std::error_code error;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
      std::error_code vanished;
      const fs::file_status status = entry->symlink_status(vanished);
      if (fs::is_directory(status)) directories.push_back(entry->path());
      if (fs::is_regular_file(status)) co_yield entry->path().string();
    }
    if (error) co_yield directory.string();
  }
}

/// A line on standard error that is written anew a few times a second, if that is a terminal.
class Progress {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (visible_) std::fputs("\r\x1b[K", stderr);
  }

  bool visible() const { return visible_; }
  void found_file() { ++found_; }
  void found_all() { found_all_ = true; }
  void done(const Document& document) {
    ++done_;
    bytes_ += document.bytes;
    if (!visible_ || Clock::now() < next_) return;
    next_ = Clock::now() + std::chrono::milliseconds(100);
    show();
  }

 private:
  void show() const {
    const double seconds = seconds_since(start_);
    const double megabytes = static_cast<double>(bytes_) / 1e6;
    const std::size_t found = std::max(found_, done_);
    const std::size_t width = 30, filled = width * done_ / found;
    std::fprintf(stderr, "\r[%s%s] %zu of %zu%s files, %.1f MB, %.1f MB/s", std::string(filled, '#').c_str(),
                 std::string(width - filled, '.').c_str(), done_, found, found_all_ ? "" : "+", megabytes,
                 megabytes / seconds);
    if (found_all_) {
      std::fprintf(stderr, ", %.0f s left", seconds * static_cast<double>(found - done_) / static_cast<double>(done_));
    }
    std::fputs("\x1b[K", stderr);
  }

  const bool visible_ = isatty(STDERR_FILENO) != 0;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point next_ = start_;
  std::size_t found_ = 0, done_ = 0;
  std::uint64_t bytes_ = 0;
  bool found_all_ = false;
};

/// Runs ahead of the workers, so that the progress has something to be measured by.
cofork::Task<> count_files(fs::path root, Progress& progress) {
  if (!progress.visible()) co_return;
  auto files = files_below(std::move(root));
  while (auto path = co_await files.next()) {
    progress.found_file();
    co_await cofork::yield_now();
  }
  progress.found_all();
}

/// The files are found, read and signed at the same time; what the workers have finished arrives first.
cofork::Task<std::vector<Document>> sign_all(fs::path root, unsigned workers, Progress& progress) {
  std::vector<Document> documents;
  cofork::ProcessPoolExecutor pool({.max_workers = workers});
  auto results = pool.map({.ordered = false, .retries = 2}, sign, files_below(std::move(root)));
  while (auto document = co_await results.next()) {
    progress.done(*document);
    documents.push_back(std::move(*document));
  }
  co_return documents;
}

cofork::Task<std::vector<Document>> in_parallel(fs::path root, unsigned workers) {
  Progress progress;
  auto [counted, documents] = co_await cofork::gather(count_files(root, progress), sign_all(root, workers, progress));
  co_return std::move(documents);
}

cofork::Task<std::vector<Document>> in_this_process(fs::path root) {
  std::vector<Document> documents;
  auto files = files_below(std::move(root));
  while (auto path = co_await files.next()) {
    documents.push_back(sign(std::move(*path)));
    co_await cofork::yield_now();  // lets Ctrl-C in
  }
  co_return documents;
}

struct Findings {
  std::vector<Document> documents;
  std::vector<SimilarPair> pairs;
  double seconds;
};

Findings find(cofork::Task<std::vector<Document>> signing) {
  const Clock::time_point start = Clock::now();
  Findings findings{};
  findings.documents = cofork::run(std::move(signing));
  std::sort(findings.documents.begin(), findings.documents.end(),
            [](const Document& a, const Document& b) { return a.path < b.path; });
  std::vector<MinHashSignature> signatures;
  for (const Document& document : findings.documents) signatures.push_back(document.signature);
  findings.pairs = similar_pairs(signatures);
  findings.seconds = seconds_since(start);
  return findings;
}

void print(const Findings& findings) {
  std::uint64_t bytes = 0;
  std::vector<const Document*> skipped;
  for (const Document& document : findings.documents) {
    bytes += document.bytes;
    if (!document.problem.empty()) skipped.push_back(&document);
  }
  std::printf("%zu files, %.1f MB, %zu skipped\n", findings.documents.size(), static_cast<double>(bytes) / 1e6,
              skipped.size());
  for (const Document* document : skipped | std::views::take(skipped_shown)) {
    std::printf("  skipped %s: %s\n", document->path.c_str(), document->problem.c_str());
  }
  if (skipped.size() > skipped_shown) std::printf("  and %zu more\n", skipped.size() - skipped_shown);
  std::printf("%zu similar pairs\n", findings.pairs.size());
  for (const auto& [similarity, first, second] : findings.pairs | std::views::take(pairs_shown)) {
    std::printf("  %.2f  %s  %s\n", similarity, findings.documents[first].path.c_str(),
                findings.documents[second].path.c_str());
  }
}

struct Arguments {
  std::string directory{};
  unsigned workers = cofork::available_parallelism();
  bool serial = false;
};

Arguments parse(std::vector<std::string> words) {
  Arguments arguments;
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (*word == "--serial") {
      arguments.serial = true;
    } else if (*word == "--workers" && word + 1 != words.end()) {
      const int workers = std::atoi((++word)->c_str());
      if (workers < 1) throw std::invalid_argument("--workers takes a number of at least 1");
      arguments.workers = static_cast<unsigned>(workers);
    } else if (arguments.directory.empty() && !word->starts_with('-')) {
      arguments.directory = *word;
    } else {
      throw std::invalid_argument("unexpected argument: " + *word);
    }
  }
  if (!fs::is_directory(arguments.directory)) throw std::invalid_argument("no directory: " + arguments.directory);
  return arguments;
}

int main(int argc, char** argv) try {
  const auto [directory, workers, serial] = parse({argv + 1, argv + argc});
  const Findings parallel = find(in_parallel(directory, workers));
  print(parallel);
  std::printf("parallel: %.2f s", parallel.seconds);
  bool identical = true;
  if (serial) {
    std::fflush(stdout);
    const Findings alone = find(in_this_process(directory));
    identical = alone.documents == parallel.documents && alone.pairs == parallel.pairs;
    std::printf(", serial: %.2f s (%.1fx), results identical: %s", alone.seconds, alone.seconds / parallel.seconds,
                identical ? "yes" : "no");
  }
  std::printf("\n");
  return identical ? 0 : 1;
} catch (const cofork::KeyboardInterrupt&) {
  std::fputs("interrupted\n", stderr);
  return 130;
} catch (const std::invalid_argument& error) {
  std::fprintf(stderr, "%s\nusage: near_duplicates DIR [--workers N] [--serial]\n", error.what());
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "near_duplicates: %s\n", error.what());
  return 1;
}
