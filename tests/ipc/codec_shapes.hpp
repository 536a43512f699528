#pragma once
// One value or more of every shape that has a codec, for the tests that treat all shapes alike and for the fuzzer.

#include <array>
#include <bitset>
#include <chrono>
#include <cofork/ipc/codec.hpp>
#include <complex>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace shapes {

enum class Colour : std::uint8_t { red, green, blue };
enum class Switch : bool { off, on };

struct Empty {
  friend bool operator==(const Empty&, const Empty&) = default;
};
struct Point {
  double x, y;
  friend bool operator==(const Point&, const Point&) = default;
};
struct Padded {
  std::uint8_t small;
  double large;
  friend bool operator==(const Padded&, const Padded&) = default;
};
struct Tagged : Empty {
  int number;
  friend bool operator==(const Tagged&, const Tagged&) = default;
};
struct Bits {
  unsigned low : 3;
  int high : 5;
  bool flag : 1;
  friend bool operator==(const Bits&, const Bits&) = default;
};
struct Everything {
  bool flag;
  Colour colour;
  Switch power;
  char name[8];
  std::string words[2];
  Point corners[2][2];
  Empty nothing;
  Tagged tagged;
  std::optional<std::vector<Padded>> maybe;
  std::map<std::string, Point> places;
  friend bool operator==(const Everything&, const Everything&) = default;
};
struct Tree {
  int value = 0;
  std::unique_ptr<Tree> left, right;
  std::vector<Tree> others;
  friend bool operator==(const Tree& a, const Tree& b) {
    const auto same = [](const auto& p, const auto& q) { return p && q ? *p == *q : !p && !q; };
    return a.value == b.value && same(a.left, b.left) && same(a.right, b.right) && a.others == b.others;
  }
};
struct Json {
  std::variant<std::monostate, bool, std::int64_t, std::string, std::vector<Json>, std::map<std::string, Json>> value;
  friend bool operator==(const Json&, const Json&) = default;
};
/// A class that is trivially copyable and not an aggregate.
class Plain {
 public:
  Plain() = default;
  explicit Plain(int value) : value_(value) {}
  friend bool operator==(const Plain&, const Plain&) = default;

 private:
  int value_ = 0;
};
/// A class with a member `serialize`.
class Account {
 public:
  Account() = default;
  Account(std::string owner, std::int64_t balance) : owner_(std::move(owner)), balance_(balance) {}
  template <class Archive>
  void serialize(Archive& ar) {
    ar(owner_, balance_);
  }
  friend bool operator==(const Account&, const Account&) = default;

 private:
  std::string owner_;
  std::int64_t balance_ = 0;
};
/// A class with a free `serialize`.
class Ratio {
 public:
  explicit Ratio(int over = 0, int under = 1) : over_(over), under_(under) {}
  template <class Archive>
  friend void serialize(Archive& ar, Ratio& ratio) {
    ar(ratio.over_, ratio.under_);
  }
  friend bool operator==(const Ratio&, const Ratio&) = default;

 private:
  int over_, under_;
};
/// A class that serializes nothing.
class Silent {
 public:
  Silent() {}
  Silent(const Silent&) {}
  Silent& operator=(const Silent&) { return *this; }
  template <class Archive>
  void serialize(Archive& ar) {
    ar();
  }
  friend bool operator==(const Silent&, const Silent&) { return true; }
};
/// A class with a Codec, without a default constructor.
class Matrix {
 public:
  Matrix(std::size_t columns, std::vector<double> cells) : columns_(columns), cells_(std::move(cells)) {}
  std::size_t columns() const { return columns_; }
  const std::vector<double>& cells() const { return cells_; }
  friend bool operator==(const Matrix&, const Matrix&) = default;

 private:
  std::size_t columns_;
  std::vector<double> cells_;
};

}  // namespace shapes

template <>
struct cofork::Codec<shapes::Matrix> {
  static void encode(ipc::Writer& writer, const shapes::Matrix& matrix) {
    writer.size(matrix.columns());
    ipc::encode(writer, matrix.cells());
  }
  static shapes::Matrix decode(ipc::Reader& reader) {
    const std::size_t columns = reader.size(0);
    return {columns, ipc::decode<std::vector<double>>(reader)};
  }
};

namespace shapes {

/// Calls a visitor with one value after the other of a type; they are made one call at a time to spare the compiler a
/// function with hundreds of temporaries.
template <class Visit>
class Each {
 public:
  explicit Each(Visit& visit) : visit_(visit) {}
  template <class T, class... U>
  [[gnu::noinline]] void operator()(T first, U... others) {
    visit_(std::as_const(first));
    (visit_(T(std::move(others))), ...);
  }

 private:
  Visit& visit_;
};

template <class Visit>
[[gnu::noinline]] void numbers(Each<Visit> each) {
  each(false, true);
  each(std::int64_t{0}, -1, INT64_MAX);
  each(0.0, -1.5, 1e300);
  each('a');
  each(Colour::red, Colour::blue);
  each(Switch::off, Switch::on);
  each(std::byte{0}, std::byte{255});
}

template <class Visit>
[[gnu::noinline]] void strings_and_vectors(Each<Visit> each) {
  using std::string;
  each(string(), string("short"), string(300, 'x'), string("\0\xff", 2));
  each(std::u16string(), std::u16string(u"wide"));
  each(std::wstring(), std::wstring(L"wider"));
  each(std::vector<int>(), std::vector<int>{1, 2, 3});
  each(std::vector<string>(), std::vector<string>{"", "a", string(70, 'b')});
  each(std::vector<bool>(), std::vector<bool>{true}, std::vector<bool>(17, true));
  each(std::vector<Padded>(), std::vector<Padded>{{1, 2}, {3, 4}});
  each(std::vector<Empty>(), std::vector<Empty>(3));
  each(std::vector<Silent>(), std::vector<Silent>(3));
}

template <class Visit>
[[gnu::noinline]] void arrays_and_lists(Each<Visit> each) {
  using std::string;
  each(std::vector<std::vector<std::vector<char>>>(), std::vector<std::vector<std::vector<char>>>{{}, {{'a'}, {}}});
  each(std::array<int, 0>());
  each(std::array<int, 3>{1, 2, 3});
  each(std::array<string, 2>{"a", "b"});
  each(std::array<Matrix, 1>{Matrix(1, {1, 2})});
  each(std::deque<std::pair<int, string>>(), std::deque<std::pair<int, string>>{{1, "one"}, {2, "two"}});
  each(std::list<double>(), std::list<double>{1, 2});
  each(std::forward_list<string>(), std::forward_list<string>{"a", "b", "c"});
}

template <class Visit>
[[gnu::noinline]] void tuples_and_variants(Each<Visit> each) {
  using std::string;
  each(std::tuple<>());
  each(std::tuple<int>(7));
  each(std::tuple<std::tuple<int>>(7));
  each(std::tuple<string, std::tuple<>, std::pair<bool, float>>("t", {}, {true, 2}));
  each(std::optional<int>(), std::optional<int>(4));
  each(std::optional<std::optional<string>>(), std::optional<std::optional<string>>(std::in_place),
       std::optional<std::optional<string>>("x"));
  each(std::monostate());
  each(std::variant<int, string, int>(), std::variant<int, string, int>("s"),
       std::variant<int, string, int>(std::in_place_index<2>, 5));
}

template <class Visit>
[[gnu::noinline]] void maps_and_sets(Each<Visit> each) {
  using std::string;
  each(std::map<string, int>(), std::map<string, int>{{"a", 1}, {"b", 2}});
  each(std::multimap<int, string>(), std::multimap<int, string>{{1, "b"}, {1, "a"}});
  each(std::set<string>(), std::set<string>{"x", "y"});
  each(std::multiset<int>(), std::multiset<int>{3, 3, 4});
  each(std::unordered_map<string, int>(), std::unordered_map<string, int>{{"a", 1}, {"b", 2}, {"c", 3}});
  each(std::unordered_multimap<int, int>(), std::unordered_multimap<int, int>{{1, 2}, {1, 3}});
  each(std::unordered_set<int>(), std::unordered_set<int>{1, 2, 3});
  each(std::unordered_multiset<int>(), std::unordered_multiset<int>{1, 1});
}

template <class Visit>
[[gnu::noinline]] void bits_and_times(Each<Visit> each) {
  using namespace std::chrono_literals;
  each(std::bitset<0>());
  each(std::bitset<11>(), std::bitset<11>(0x555));
  each(std::bitset<77>(), std::bitset<77>().set());
  each(std::complex<double>(), std::complex<double>(1, 2));
  each(0ns, 5ns);
  each(std::chrono::duration<double>(0.5));
  each(std::chrono::system_clock::time_point(), std::chrono::system_clock::time_point(5s));
  each(std::chrono::year_month_day(std::chrono::year(2020), std::chrono::May, std::chrono::day(17)));
  each(std::filesystem::path(), std::filesystem::path("/tmp/some file"));
}

template <class Visit>
[[gnu::noinline]] void aggregates(Each<Visit> each) {
  each(Empty());
  each(Point{0, 0}, Point{1, 2});
  each(Padded{1, 2});
  each(Tagged{{}, 4});
  each(Bits{5, -3, true});
  each(Everything(), Everything{true,
                                Colour::green,
                                Switch::on,
                                "abcdefg",
                                {"one", "two"},
                                {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}},
                                {},
                                {{}, 9},
                                std::vector<Padded>{{1, 2}},
                                {{"home", {1, 2}}}});
}

template <class Visit>
[[gnu::noinline]] void classes(Each<Visit> each) {
  using std::string;
  each(Plain(), Plain(5));
  each(Account(), Account("me", 12));
  each(Ratio(), Ratio(2, 3));
  each(Matrix(0, {}), Matrix(2, {1, 2, 3, 4}));
  each(Json(), Json{true}, Json{string("text")},
       Json{std::map<string, Json>{{"list", {std::vector<Json>{{std::int64_t{1}}, {}}}}}});
  each(std::shared_ptr<const string>(), std::make_shared<const string>("shared"));
}

template <class Visit>
[[gnu::noinline]] void move_only_values(Visit& visit) {
  using Pointers = std::vector<std::unique_ptr<std::string>>;
  visit(Pointers());
  Pointers pointers(3);
  pointers[1] = std::make_unique<std::string>("owned");
  visit(pointers);
  visit(Tree());
  Tree tree{1, std::make_unique<Tree>(), nullptr, {}};
  tree.left->right = std::make_unique<Tree>(Tree{2, nullptr, nullptr, {}});
  tree.others.emplace_back();
  visit(tree);
}

/// Calls `visit(const T&)` with every value.
template <class Visit>
void for_each(Visit visit) {
  const Each<Visit> each(visit);
  numbers(each);
  strings_and_vectors(each);
  arrays_and_lists(each);
  tuples_and_variants(each);
  maps_and_sets(each);
  bits_and_times(each);
  aggregates(each);
  classes(each);
  move_only_values(visit);
}

}  // namespace shapes
