// Python, which runs the program's peer.py.
#pragma once

#include <optional>
#include <string>

namespace bench {

class Peer {
 public:
  /// Asks python3 for its version.
  Peer();

  bool found() const { return !version_.empty(); }
  const std::string& version() const { return version_; }
  /// Whether it has numpy, which makes large arrays faster.
  bool has_numpy() const { return has_numpy_; }

  /// The number that peer.py prints when it is called with `arguments`; nothing without a python3.
  std::optional<double> run(const std::string& arguments) const;

 private:
  std::string version_;
  bool has_numpy_ = false;
};

}  // namespace bench
