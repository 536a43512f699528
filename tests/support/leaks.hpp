#pragma once

#include <string>
#include <vector>

namespace support {

/// Makes this process one whose leaks can be told from everybody else's: gives it a fresh temporary directory
/// (TMPDIR), by whose name its descendants are known wherever they end up. Replaces the process image once, so that
/// call it first in main.
void isolate_process(char** argv);

/// Removes the temporary directory. Safe to call twice.
void remove_temporary_directory();

/// What a process must leave behind as it found it.
class Resources {
 public:
  /// What there is now.
  static Resources now();

  /// What is here and was not in `before`, one line of text each.
  std::vector<std::string> added_since(const Resources& before) const;

 private:
  std::vector<std::string> descriptors_, processes_, memory_maps_, shared_memory_, temporary_files_;
};

/// What is left that `before` had not, after giving processes that are already dying, and other programs' entries in
/// /dev/shm, a moment to go away.
std::vector<std::string> leaks_since(const Resources& before);

}  // namespace support
