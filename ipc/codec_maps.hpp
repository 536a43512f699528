// Codecs of maps and sets. A comparator, hash or allocator does not travel: it is made anew.
#pragma once

#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <cofork/ipc/codec_core.hpp>

namespace cofork::detail {

template <class Set>
struct SetCodec : OwnCodec<typename Set::key_type> {
  using Key = typename Set::key_type;
  static void encode(Writer& writer, const Set& keys) {
    const Nesting nesting(writer);
    writer.size(keys.size());
    for (const Key& key : keys) ipc::encode(writer, key);
  }
  static Set decode(Reader& reader) {
    const Nesting nesting(reader);
    const std::size_t n = reader.size(min_size<Key>());
    Set keys;
    if constexpr (requires { keys.reserve(n); }) keys.reserve(reader.affordable(n, sizeof(Key) + sizeof(void*)));
    for (std::size_t i = 0; i != n; ++i) keys.emplace_hint(keys.end(), ipc::decode<Key>(reader));
    return keys;
  }
};

template <class Map>
struct MapCodec : OwnCodec<typename Map::key_type, typename Map::mapped_type> {
  using Key = typename Map::key_type;
  using Mapped = typename Map::mapped_type;
  static void encode(Writer& writer, const Map& map) {
    const Nesting nesting(writer);
    writer.size(map.size());
    for (const auto& [key, mapped] : map) {
      ipc::encode(writer, key);
      ipc::encode(writer, mapped);
    }
  }
  static Map decode(Reader& reader) {
    const Nesting nesting(reader);
    const std::size_t n = reader.size(min_size<Key>() + min_size<Mapped>());
    Map map;
    if constexpr (requires { map.reserve(n); }) {
      map.reserve(reader.affordable(n, sizeof(typename Map::value_type) + sizeof(void*)));
    }
    for (std::size_t i = 0; i != n; ++i) {
      Key key = ipc::decode<Key>(reader);  // before the mapped value: arguments have no order
      map.emplace_hint(map.end(), std::move(key), ipc::decode<Mapped>(reader));
    }
    return map;
  }
};

}  // namespace cofork::detail

namespace cofork {

template <class K, class V, class C, class A>
struct Codec<std::map<K, V, C, A>> : detail::MapCodec<std::map<K, V, C, A>> {};
template <class K, class V, class C, class A>
struct Codec<std::multimap<K, V, C, A>> : detail::MapCodec<std::multimap<K, V, C, A>> {};
template <class K, class V, class H, class E, class A>
struct Codec<std::unordered_map<K, V, H, E, A>> : detail::MapCodec<std::unordered_map<K, V, H, E, A>> {};
template <class K, class V, class H, class E, class A>
struct Codec<std::unordered_multimap<K, V, H, E, A>> : detail::MapCodec<std::unordered_multimap<K, V, H, E, A>> {};

template <class K, class C, class A>
struct Codec<std::set<K, C, A>> : detail::SetCodec<std::set<K, C, A>> {};
template <class K, class C, class A>
struct Codec<std::multiset<K, C, A>> : detail::SetCodec<std::multiset<K, C, A>> {};
template <class K, class H, class E, class A>
struct Codec<std::unordered_set<K, H, E, A>> : detail::SetCodec<std::unordered_set<K, H, E, A>> {};
template <class K, class H, class E, class A>
struct Codec<std::unordered_multiset<K, H, E, A>> : detail::SetCodec<std::unordered_multiset<K, H, E, A>> {};

}  // namespace cofork
