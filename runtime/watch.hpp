// watch(): tells when a file or a directory changes.
#pragma once

#include <cofork/runtime/stream.hpp>
#include <filesystem>
#include <string>

namespace cofork {

/// Something that happened to a watched file or directory.
struct FileChange {
  enum class Kind {
    created,     ///< In the directory: made or linked.
    modified,    ///< Written to, or cut.
    written,     ///< Somebody who had it open for writing has closed it.
    attributes,  ///< Permissions, owner, times or the number of its names: also when a file that is open is removed.
    removed,     ///< It is gone. Of the watched path itself: nobody has it open any more, and the stream ends.
    moved_away,  ///< Renamed; a rename inside of a watched directory is this one and then `moved_here`.
    moved_here,
    lost,  ///< More happened than the kernel keeps: look yourself.
  };

  Kind kind;
  std::string name;  ///< What it is about inside of the watched directory; empty: the watched path itself.

  bool operator==(const FileChange&) const = default;
};

/// Watches the file or directory at `path` from the call on (inotify): what `path` names at the moment, wherever it is
/// moved. A directory tells of what is directly in it. The kernel keeps what nobody has taken yet, merges equal changes
/// in a row, and says so when it had to drop some (`lost`). The stream ends when what it watches is gone. Cancelling
/// `next` loses nothing.
///
/// `std::logic_error` where no loop is running; `std::system_error`, ENOENT or, when this user watches too much, EMFILE
/// or ENOSPC.
Stream<FileChange> watch(std::filesystem::path path);

}  // namespace cofork
