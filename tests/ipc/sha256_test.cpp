#include <cofork/ipc/sha256.hpp>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using namespace cofork::detail;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string hex(const Sha256::Digest& digest) {
  std::string text;
  for (const std::byte byte : digest) {
    const char* const digits = "0123456789abcdef";
    text += digits[static_cast<unsigned>(byte) >> 4];
    text += digits[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

std::string hash(std::string_view text, std::size_t piece) {
  Sha256 sha;
  for (; text.size() > piece; text.remove_prefix(piece)) sha.update(bytes_of(text.substr(0, piece)));
  sha.update(bytes_of(text));
  return hex(sha.finish());
}

std::string hmac(std::string_view key, std::string_view first, std::string_view second = {}) {
  const std::array parts = {bytes_of(first), bytes_of(second)};
  return hex(hmac_sha256(bytes_of(key), parts));
}

}  // namespace

TEST_CASE("SHA-256 gives the digests of FIPS 180-4, in whatever pieces") {
  const std::string million(1000000, 'a');
  for (const std::size_t piece : {1U, 3U, 63U, 64U, 65U, 1000000U}) {
    CHECK(hash("", piece) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc", piece) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", piece) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash(million, piece) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

TEST_CASE("HMAC-SHA256 gives the digests of RFC 4231") {
  CHECK(hmac(std::string(20, '\x0b'), "Hi There") ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hmac("Jefe", "what do ya want ", "for nothing?") ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hmac(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First") ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("digests are compared byte by byte") {
  Sha256::Digest a = {}, b = {};
  CHECK(same_digest(a, b));
  for (std::size_t i = 0; i < b.size(); ++i) {
    b[i] = std::byte{1};
    CHECK_FALSE(same_digest(a, b));
    b[i] = std::byte{0};
  }
}
