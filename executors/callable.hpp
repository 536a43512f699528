// Functions as a pool runs them: what they take and give, and how a call travels.
#pragma once

#include <bit>
#include <cofork/executors/function_id.hpp>
#include <cofork/executors/worker_main.hpp>
#include <cofork/executors/worker_stream.hpp>
#include <cofork/ipc/codec.hpp>
#include <cofork/ipc/task_sender.hpp>
#include <cofork/runtime/run.hpp>
#include <cofork/runtime/stream.hpp>
#include <cofork/runtime/task.hpp>
#include <concepts>
#include <functional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace cofork::detail {

template <class F>
inline constexpr bool is_function_pointer = std::is_pointer_v<F>&& std::is_function_v<std::remove_pointer_t<F>>;

template <class F>
inline constexpr bool can_travel = is_function_pointer<F> || (std::is_class_v<F> && std::is_empty_v<F>);

// The parameters of a function, where it has just one signature.

template <class F>
struct Signature {
  static constexpr bool known = false;
};
template <class... P>
struct KnownSignature {
  static constexpr bool known = true;
  using Parameters = std::tuple<std::remove_cvref_t<P>...>;
};
template <class R, class... P>
struct Signature<R (*)(P...)> : KnownSignature<P...> {};
template <class R, class... P>
struct Signature<R (*)(P...) noexcept> : KnownSignature<P...> {};
template <class R, class C, class... P>
struct Signature<R (C::*)(P...)> : KnownSignature<P...> {};
template <class R, class C, class... P>
struct Signature<R (C::*)(P...) const> : KnownSignature<P...> {};
template <class R, class C, class... P>
struct Signature<R (C::*)(P...) noexcept> : KnownSignature<P...> {};
template <class R, class C, class... P>
struct Signature<R (C::*)(P...) const noexcept> : KnownSignature<P...> {};
template <class F>
requires requires { &F::operator(); }
struct Signature<F> : Signature<decltype(&F::operator())> {};

/// The types in which the arguments travel: those of the parameters, or of the arguments of a generic function.
template <class F, class... A>
struct ParametersOf {
  using type = std::tuple<std::decay_t<A>...>;
};
template <class F, class... A>
requires(Signature<F>::known) struct ParametersOf<F, A...> {
  using type = typename Signature<F>::Parameters;
  static_assert(std::tuple_size_v<type> == sizeof...(A),
                "pass as many arguments as the function has parameters: defaults do not travel");
};
template <class F, class... A>
using Parameters = typename ParametersOf<F, A...>::type;

template <class R>
struct Unwrapped {
  using type = std::remove_cvref_t<R>;
};
template <>
struct Unwrapped<void> {
  using type = void;
};
template <class R>
struct Unwrapped<Task<R>> : Unwrapped<R> {};

/// What a call gives back: a task that a function returns is run in the worker, a stream is read there.
template <class F, class... A>
using CallResult = typename Unwrapped<std::invoke_result_t<F, A...>>::type;

template <class F>
constexpr void check_function() {
  static_assert(
      can_travel<F>,
      "a pool runs function pointers and lambdas without captures: its workers were forked before this call and "
      "do not have what is captured. Pass it as an argument, or use ForkExecutor.");
}

template <class R>
inline constexpr bool is_stream = false;
template <class T>
inline constexpr bool is_stream<Stream<T>> = true;

template <class R>
constexpr void check_result() {
  static_assert(!is_stream<R>,
                "map takes no function that returns a Stream (nor submit one that returns a Task<Stream>): submit it "
                "for each item, and read the streams");
  if constexpr (!std::is_void_v<R>)
    static_assert(!ipc::is_view_v<R>, "the result of a task must own its contents: a view would dangle in the worker");
}

// The worker's side.

template <class F>
F decode_function(ipc::Reader& reader) {
  if constexpr (is_function_pointer<F>)
    return reinterpret_cast<F>(resolve(reader.value<FunctionId>()));
  else if constexpr (std::default_initializable<F>)
    return F{};
  else
    return std::bit_cast<F>(std::byte{});
}

template <class F, class Parameters>
struct RemoteCall;

template <class F, class... P>
struct RemoteCall<F, std::tuple<P...>> {
  using Returned = std::invoke_result_t<F, P...>;
  /// Whether it is a coroutine, which can be asked to end.
  static constexpr bool is_coroutine =
      is_task<std::remove_cvref_t<Returned>> || is_stream<std::remove_cvref_t<Returned>>;

  static void run(WorkerCall& call) {
    F function = decode_function<F>(call.arguments);
    // Braces: in this order.
    std::tuple<P...> arguments{ipc::decode<P>(call.arguments)...};
    call.arguments.finish();
    if constexpr (!(ipc::is_view_v<P> || ...)) call.arguments_taken();
    call.begin();
    const auto invoke = [&]() -> Returned { return std::apply(std::move(function), std::move(arguments)); };
    if constexpr (is_stream<std::remove_cvref_t<Returned>>)
      call.loop().run([&] { return send_values(call, invoke()); });
    else if constexpr (is_coroutine)
      give(call, [&] { return call.loop().run(invoke); });
    else
      give(call, invoke);
  }

 private:
  template <class Invoke>
  static void give(WorkerCall& call, Invoke invoke) {
    if constexpr (std::is_void_v<std::invoke_result_t<Invoke>>) {
      invoke();
    } else {
      decltype(auto) result = invoke();
      ipc::encode<std::remove_cvref_t<decltype(result)>>(call.result(), result);
    }
  }
};

// The caller's side.

template <class F, class Parameters>
ipc::TaskSender::Function remote_function() {
  static const FunctionId id = identify(reinterpret_cast<AnyFunction>(&RemoteCall<F, Parameters>::run));
  return {id.module, id.offset};
}

/// Tells functions apart that are called by the same code.
template <class F, class Parameters>
std::uint64_t function_key(F function) {
  if constexpr (is_function_pointer<F>)
    return reinterpret_cast<std::uintptr_t>(function);
  else
    return reinterpret_cast<std::uintptr_t>(&RemoteCall<F, Parameters>::run);
}

template <class F>
void encode_function(ipc::Writer& writer, F function) {
  if constexpr (is_function_pointer<F>) writer.value(identify(reinterpret_cast<AnyFunction>(function)));
}

template <class F>
std::string name_of_function(F function) {
  if constexpr (is_function_pointer<F>)
    return function_name(reinterpret_cast<AnyFunction>(function));
  else
    return type_name(typeid(F));
}

template <class P, class A>
void encode_argument(ipc::Writer& writer, A&& argument) {
  if constexpr (std::is_same_v<std::remove_cvref_t<A>, P>)
    ipc::encode<P>(writer, argument);
  else
    ipc::encode<P>(writer, static_cast<P>(std::forward<A>(argument)));
}

template <class F, class Parameters, class... A>
void encode_call(ipc::Writer& writer, F function, A&&... arguments) {
  encode_function(writer, function);
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (encode_argument<std::tuple_element_t<i, Parameters>>(writer, std::forward<A>(arguments)), ...);
  }
  (std::index_sequence_for<A...>());
}

/// What was moved into a call ends when it is encoded, also where it need not wait, so that a stream does not stay open
/// with the caller. What has nothing to end stays where it is.
template <class A>
using TakenArgument =
    std::conditional_t<std::is_class_v<A> && !std::is_const_v<A> && !std::is_trivially_destructible_v<A>, A, A&&>;
template <class A>
TakenArgument<A> take_argument(std::remove_reference_t<A>& argument) {
  return std::forward<A>(argument);
}

/// An argument that must wait: as the parameter's type; for a view, in something that owns what it shows.
template <class P, class A>
struct HeldArgument {
  using type = P;
};
template <class A>
inline constexpr bool owns_contents = std::ranges::range<A> && !std::ranges::borrowed_range<A> && !std::is_array_v<A>;
template <class A>
struct HeldArgument<std::string_view, A> {
  using type = std::conditional_t<owns_contents<A>, A, std::string>;
};
template <class T, class A>
struct HeldArgument<std::span<const T>, A> {
  using type = std::conditional_t<owns_contents<A>, A, std::vector<T>>;
};

template <class P, class A>
auto hold_argument(A&& argument) -> typename HeldArgument<P, std::remove_cvref_t<A>>::type {
  using Held = typename HeldArgument<P, std::remove_cvref_t<A>>::type;
  if constexpr (std::is_same_v<Held, P> || std::is_same_v<Held, std::remove_cvref_t<A>>) {
    return static_cast<Held>(std::forward<A>(argument));
  } else {
    const P view(argument);
    return Held(view.begin(), view.end());
  }
}

template <class Parameters, class... A>
struct HeldArgumentsOf;
template <class... P, class... A>
struct HeldArgumentsOf<std::tuple<P...>, A...> {
  using type = std::tuple<typename HeldArgument<P, std::remove_cvref_t<A>>::type...>;
};
template <class Parameters, class... A>
using HeldArguments = typename HeldArgumentsOf<Parameters, A...>::type;

}  // namespace cofork::detail
