// What every library's coroutines are measured with. A `Turn` has a static `turn`, of which the result is awaited to
// wait once.
#pragma once

#include "keep.hpp"
#include "micro.hpp"
#include "turns.hpp"

namespace bench {

template <class Coroutine>
[[gnu::noinline]] Coroutine leaf(int value) {
  keep(value);
  co_return value;
}

template <class Coroutine>
Coroutine await_leaves() {
  int sum = 0;
  for (int i = 0; i != leaves; ++i) sum += co_await leaf<Coroutine>(1);
  co_return sum;
}

template <class Coroutine>
[[gnu::noinline]] Coroutine chain(int links) {
  keep(links);
  if (links == 0) co_return 0;
  const int below = co_await chain<Coroutine>(links - 1);
  co_return below + 1;
}

template <class Coroutine, class Turn>
[[gnu::noinline]] Coroutine waiting_chain(int links) {
  keep(links);
  if (links == 0) {
    co_await Turn::turn();
    co_return 0;
  }
  const int below = co_await waiting_chain<Coroutine, Turn>(links - 1);
  co_return below + 1;
}

/// Nanoseconds for each of the operations in what `make()` gives, which is awaited until `work.seconds` are over.
template <class Coroutine, class Make>
Coroutine batches_of(Work work, std::size_t each, Make make) {
  const auto first = co_await make();
  check(static_cast<std::size_t>(first) == each, "awaits");
  Batches batches(work.seconds);
  while (batches.next()) {
    const auto count = co_await make();
    check(static_cast<std::size_t>(count) == each, "awaits");
  }
  co_return 1e3 * batches.microseconds_each(each);
}

/// The turns of the coroutine that measures; it ends the others'.
template <class Coroutine, class Turn>
Coroutine measured_turns(Turns& turns, Work work) {
  Batches batches(work.seconds);
  while (batches.next()) {
    for (std::size_t turn = 0; turn != turns_of_each; ++turn) {
      turns.take(0);
      co_await Turn::turn();
    }
  }
  turns.check_taken(work.count);
  turns.over = true;
  co_return 1e3 * batches.microseconds_each(work.count * turns_of_each);
}

template <class Coroutine, class Turn>
Coroutine other_turns(Turns& turns, std::size_t self) {
  while (!turns.over) {
    turns.take(self);
    co_await Turn::turn();
  }
  co_return 0;
}

}  // namespace bench
