// A map over forked children: its function with all its captures, and its input where that can be indexed, lie in the
// snapshot that the children are copies of.
#pragma once

#include <cofork/executors/callable.hpp>
#include <cofork/executors/map_job.hpp>
#include <cofork/executors/process_target.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cofork::detail {

/// Calls what lies in the snapshot. Being empty it travels as any function that a pool runs.
template <class C>
struct SnapshotFunction {
  /// In the process that forks, set by `SnapshotScope` while it does; in its copies for ever.
  static inline thread_local C* target = nullptr;

  template <class... A>
  decltype(auto) operator()(A&&... arguments) const {
    return std::invoke(*target, std::forward<A>(arguments)...);
  }
};

/// A copy that is forked while it lives knows this callable.
template <class C>
class SnapshotScope {
 public:
  explicit SnapshotScope(C& callable) noexcept : outer_(std::exchange(SnapshotFunction<C>::target, &callable)) {}
  SnapshotScope(const SnapshotScope&) = delete;
  ~SnapshotScope() { SnapshotFunction<C>::target = outer_; }

 private:
  C* outer_;  // a child that forks children of its own still has calls of its own to make
};

/// A callable where the handles in it are found.
template <class C>
class SnapshotTarget final : public ProcessTarget {
 public:
  template <class... A>
  explicit SnapshotTarget(A&&... arguments) : callable(std::forward<A>(arguments)...) {
    this->set_memory(this, sizeof *this);
  }
  void call() override {}
  void copy_arguments() const override {}

  C callable;
};

template <class R>
concept DirectlyIndexed = std::ranges::random_access_range<R> &&
    (std::ranges::sized_range<R> || std::same_as<std::ranges::sentinel_t<R>, std::unreachable_sentinel_t>);
/// What the children can find an item of by its number, in their copies.
template <class R>
concept Indexable = DirectlyIndexed<R> ||(std::ranges::forward_range<R>&& std::ranges::sized_range<R>);

template <class View>
class IndexedView {
 public:
  explicit IndexedView(View view) : view_(std::move(view)) {}

  /// How many items there are at this moment; nothing if there is no end.
  std::optional<std::uint64_t> fix() {
    if constexpr (!std::ranges::sized_range<View>) {
      return std::nullopt;
    } else {
      const auto size = static_cast<std::uint64_t>(std::ranges::size(view_));
      if constexpr (!DirectlyIndexed<View>) {
        places_.reserve(size);
        for (auto place = std::ranges::begin(view_); places_.size() < size; ++place) places_.push_back(place);
      }
      return size;
    }
  }
  decltype(auto) operator[](std::uint64_t index) {
    if constexpr (DirectlyIndexed<View>)
      return std::ranges::begin(view_)[static_cast<std::ranges::range_difference_t<View>>(index)];
    else
      return *places_[index];
  }

 private:
  View view_;
  std::vector<std::ranges::iterator_t<View>> places_;  // where it cannot be indexed directly
};

/// A function over the items of ranges in the snapshot, called with their number.
template <bool unpack, class F, class... Views>
class IndexedCall {
 public:
  explicit IndexedCall(F&& function, Views... views)
      : function_(std::move(function)), views_(IndexedView<Views>(std::move(views))...) {}

  /// Of the shortest; nothing if there is no end.
  std::optional<std::uint64_t> fix() {
    std::optional<std::uint64_t> least;
    const auto take = [&](std::optional<std::uint64_t> size) {
      if (size && (!least || *size < *least)) least = size;
    };
    std::apply([&](auto&... view) { (take(view.fix()), ...); }, views_);
    return least;
  }

  decltype(auto) operator()(std::uint64_t index) {
    return std::apply([&](auto&... view) -> decltype(auto) { return call<decltype(view[index])...>(view[index]...); },
                      views_);
  }

 private:
  template <class... Items>
  decltype(auto) call(Items&&... items) {
    using Returned = decltype(invoke(function_, std::forward<Items>(items)...));
    if constexpr (is_task<std::remove_cvref_t<Returned>>)
      return await<std::remove_cvref_t<Returned>>(function_, std::tuple<Items...>(std::forward<Items>(items)...));
    else
      return invoke(function_, std::forward<Items>(items)...);
  }
  template <class... Items>
  static decltype(auto) invoke(F& function, Items&&... items) {
    if constexpr (unpack)
      return std::apply(function, std::forward<Items>(items)...);
    else
      return std::invoke(function, std::forward<Items>(items)...);
  }
  /// The items that the ranges made for this call live as long as the coroutine.
  template <class Returned, class Items>
  static Returned await(F& function, Items items) {
    Returned task = std::apply([&](auto&&... item) { return invoke(function, std::forward<decltype(item)>(item)...); },
                               std::move(items));
    co_return co_await std::move(task);
  }

  F function_;
  std::tuple<IndexedView<Views>...> views_;
};

/// A map job under the name of what is in the snapshot.
template <class Job>
class SnapshotMap final : public Job {
 public:
  template <class... A>
  explicit SnapshotMap(std::string name, A&&... arguments)
      : Job(std::forward<A>(arguments)...), name_(std::move(name)) {}

 private:
  std::string function_name() const override { return name_; }
  std::string name_;
};

/// Gives up the pool of the map with the stream.
template <class R>
class ForkedMapStream final : public StreamSource<R> {
 public:
  ForkedMapStream(IntrusivePtr<MapJob<R>> job, IntrusivePtr<PoolCore> pool)
      : job_(job), stream_(std::move(job)), pool_(std::move(pool)) {}
  ~ForkedMapStream() override { close(); }

  bool ready() override { return stream_.ready(); }
  bool wait(Waiter& waiter, std::coroutine_handle<> consumer, Context* context) override {
    return stream_.wait(waiter, consumer, context);
  }
  std::optional<Stored<R>> take() override {
    const AtEnd at_end{*this};
    return stream_.take();
  }
  void close() noexcept override {
    if (!job_->consumer.is_here()) return;
    stream_.close();
    if (const IntrusivePtr<PoolCore> pool = std::exchange(pool_, {})) pool->stop_workers(SIGKILL);
  }
  std::optional<std::uint64_t> expected() const override { return stream_.expected(); }

 private:
  struct AtEnd {
    ForkedMapStream& stream;
    ~AtEnd() {
      if (!stream.job_->ended()) return;
      if (const IntrusivePtr<PoolCore> pool = std::exchange(stream.pool_, {})) pool->close(false);
    }
  };

  IntrusivePtr<MapJob<R>> job_;
  MapStream<R, MapJob<R>> stream_;
  IntrusivePtr<PoolCore> pool_;
};

}  // namespace cofork::detail
