// How values travel between processes: `encode`, `decode`, and the codecs of the standard library's types.
//
// Without a word from their author travel: numbers, bools, enumerations; the standard containers, strings, `pair`,
// `tuple`, `optional`, `variant`, `bitset`, `complex`, `unique_ptr` and `shared_ptr` (as the value they own, or null),
// `chrono` durations and time points, `filesystem::path`; `ipc::Descriptor` and the handles of this library; aggregates
// of these, up to 32 fields, with arrays, nested, recursive; and classes that are trivially copyable, as they lie in
// memory (they must hold no pointer: the compiler cannot see into them).
//
// Any other class gives itself a `serialize`, or is given a `cofork::Codec`.
//
// `std::span<const T>` and `std::string_view` are decoded as views into the message (`is_view_v`).
#pragma once

#include <cofork/ipc/codec_core.hpp>
#include <cofork/ipc/codec_maps.hpp>
#include <cofork/ipc/codec_pointers.hpp>
#include <cofork/ipc/codec_sequences.hpp>
#include <cofork/ipc/codec_types.hpp>
#include <cofork/ipc/codec_values.hpp>
#include <cofork/ipc/codec_views.hpp>
