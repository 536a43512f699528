// SHA-256 (FIPS 180-4) and HMAC (RFC 2104), for the handshake of `Listener` and `connect`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cofork::detail {

class Sha256 {
 public:
  using Digest = std::array<std::byte, 32>;
  static constexpr std::size_t block_size = 64;

  void update(std::span<const std::byte> bytes) noexcept;
  /// Of all that was given to `update`; once.
  Digest finish() noexcept;

 private:
  void compress(const std::byte* block) noexcept;

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, block_size> block_ = {};
  std::uint64_t length_ = 0;
};

/// The HMAC of the concatenation of `parts`.
Sha256::Digest hmac_sha256(std::span<const std::byte> key, std::span<const std::span<const std::byte>> parts) noexcept;

/// Takes the same time wherever they differ.
bool same_digest(const Sha256::Digest& a, const Sha256::Digest& b) noexcept;

}  // namespace cofork::detail
