// How similar texts are, by MinHash signatures: for each of 128 hash functions the least value over all shingles
// (sequences of five words) of the text. Two signatures agree in as many places as the texts have shingles in common.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <ranges>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

inline constexpr std::size_t hash_count = 128;

/// Empty for a text without words.
using MinHashSignature = std::vector<std::uint64_t>;

constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class MinHash {
 public:
  MinHash() { least_.fill(UINT64_MAX); }

  /// The next part of the text, which may end within a word.
  void add(std::string_view text) {
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x80 || byte == '_' || std::isalnum(byte)) {
        word_ = (word_ ^ byte) * 0x100000001b3;
      } else {
        end_word();
      }
    }
  }

  MinHashSignature finish() {
    end_word();
    if (words_ == 0) return {};
    if (words_ < window_.size()) add_shingle();
    return {least_.begin(), least_.end()};
  }

 private:
  static constexpr std::uint64_t no_word = 0xcbf29ce484222325;
  static constexpr auto factors = [] {
    std::array<std::uint64_t, hash_count> odd_numbers{};
    for (std::size_t i = 0; i < hash_count; ++i) odd_numbers[i] = mix(i + 1) | 1;
    return odd_numbers;
  }();

  void end_word() {
    if (word_ == no_word) return;
    std::rotate(window_.begin(), window_.begin() + 1, window_.end());
    window_.back() = std::exchange(word_, no_word);
    if (++words_ >= window_.size()) add_shingle();
  }
  void add_shingle() {
    std::uint64_t shingle = 0;
    for (const std::uint64_t word : window_) shingle = mix(shingle + word);
    for (std::size_t i = 0; i < hash_count; ++i) least_[i] = std::min(least_[i], shingle * factors[i]);
  }

  std::uint64_t word_ = no_word;
  std::uint64_t words_ = 0;
  std::array<std::uint64_t, 5> window_{};
  std::array<std::uint64_t, hash_count> least_;
};

struct SimilarPair {
  double similarity;
  std::size_t first, second;

  bool operator==(const SimilarPair&) const = default;
};

/// The most similar first. By locality-sensitive hashing: only what agrees in a whole band of eight places, as similar
/// texts do in one band at least, is compared. Of many that are all alike each is compared with some.
inline std::vector<SimilarPair> similar_pairs(const std::vector<MinHashSignature>& signatures) {
  const std::size_t band_size = 8, neighbours = 20;
  std::vector<std::pair<std::size_t, std::size_t>> candidates;
  for (std::size_t band = 0; band < hash_count; band += band_size) {
    std::unordered_map<std::uint64_t, std::vector<std::size_t>> buckets;
    for (std::size_t i = 0; i < signatures.size(); ++i) {
      if (signatures[i].empty()) continue;
      std::uint64_t key = 0;
      for (std::size_t place = band; place < band + band_size; ++place) key = mix(key + signatures[i][place]);
      auto& bucket = buckets[key];
      for (const std::size_t other : bucket | std::views::reverse | std::views::take(neighbours)) {
        candidates.emplace_back(other, i);
      }
      bucket.push_back(i);
    }
  }
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());

  std::vector<SimilarPair> pairs;
  for (const auto& [first, second] : candidates) {
    const auto &a = signatures[first], &b = signatures[second];
    const int equal = std::inner_product(a.begin(), a.end(), b.begin(), 0, std::plus(), std::equal_to());
    pairs.push_back({equal / double{hash_count}, first, second});
  }
  std::sort(pairs.begin(), pairs.end(), [](const SimilarPair& a, const SimilarPair& b) {
    return std::tuple(-a.similarity, a.first, a.second) < std::tuple(-b.similarity, b.first, b.second);
  });
  return pairs;
}
