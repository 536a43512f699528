// The other thread, which hands functions to a loop.
#pragma once

#include <semaphore>

#include "micro.hpp"
#include "processes.hpp"

namespace bench {

/// So many functions are handed over before the thread waits until the last of them has run.
inline constexpr std::size_t posts_of_batch = 20'000;

/// By which the loop's thread answers; it outlives the call by which it does.
inline std::binary_semaphore answered(0);

/// To be called by the other thread; `post` hands a function to the loop.
template <class Post>
double post_round_trips(const Work& work, Post post) {
  pin(work.other_cpu);
  std::size_t posted = 0, ran = 0;
  const double nanoseconds = nanoseconds_each(work, Batches::trips, [&] {
    for (int i = 0; i != Batches::trips; ++i) {
      ++posted;
      post([&] {
        ++ran;
        answered.release();
      });
      answered.acquire();
    }
  });
  check(ran == posted, "functions that were posted");
  return nanoseconds;
}

/// The same, without waiting for each.
template <class Post>
double post_many(const Work& work, Post post) {
  pin(work.other_cpu);
  std::size_t ran = 0;
  return nanoseconds_each(work, posts_of_batch, [&] {
    ran = 0;
    for (std::size_t i = 0; i != posts_of_batch; ++i)
      post([&] {
        if (++ran == posts_of_batch) answered.release();
      });
    answered.acquire();
    check(ran == posts_of_batch, "functions that were posted");
  });
}

}  // namespace bench
