#include <cofork/runtime/intrusive_list.hpp>
#include <memory>
#include <vector>

#include "support/catch.hpp"

using cofork::detail::Link;
using cofork::detail::List;

namespace {

struct Other {};

struct Item : Link<Item>, Link<Other> {
  explicit Item(int number) : name(number) {}
  int name;
};

template <class Tag>
std::vector<int> names(List<Item, Tag>& list) {
  std::vector<int> result;
  list.for_each([&](Item& item) { result.push_back(item.name); });
  return result;
}

}  // namespace

TEST_CASE("a list keeps the order in which its members came") {
  Item one(1), two(2), three(3);
  List<Item> list;
  CHECK(list.empty());
  list.push_back(two);
  list.push_back(three);
  list.push_front(one);
  CHECK_FALSE(list.empty());
  CHECK(names(list) == std::vector{1, 2, 3});
  CHECK(names(list) == std::vector{1, 2, 3});
  CHECK(&list.front() == &one);
  CHECK(&list.pop_front() == &one);
  CHECK(names(list) == std::vector{2, 3});
}

TEST_CASE("a member leaves its list by itself") {
  List<Item> list;
  Item one(1);
  {
    Item two(2), three(3);
    list.push_back(two);
    list.push_back(one);
    list.push_back(three);
    CHECK(names(list) == std::vector{2, 1, 3});
  }
  CHECK(names(list) == std::vector{1});
  CHECK(static_cast<Link<Item>&>(one).linked());
  static_cast<Link<Item>&>(one).unlink();
  CHECK_FALSE(static_cast<Link<Item>&>(one).linked());
  static_cast<Link<Item>&>(one).unlink();
  CHECK(list.empty());
}

TEST_CASE("members outlive their list") {
  Item one(1), two(2);
  {
    List<Item> list;
    list.push_back(one);
    list.push_back(two);
  }
  CHECK_FALSE(static_cast<Link<Item>&>(one).linked());
  CHECK_FALSE(static_cast<Link<Item>&>(two).linked());
  List<Item> next;
  next.push_back(one);
  CHECK(names(next) == std::vector{1});
}

TEST_CASE("one object can be in two lists of different tags") {
  List<Item> first;
  List<Item, Other> second;
  Item one(1), two(2);
  first.push_back(one);
  second.push_back(two);
  second.push_back(one);
  static_cast<Link<Item>&>(one).unlink();
  CHECK(first.empty());
  CHECK(names(second) == std::vector{2, 1});
}

TEST_CASE("splicing moves all members to the end of the other list") {
  Item one(1), two(2), three(3), four(4);
  List<Item> first, second;
  first.push_back(one);
  first.push_back(two);
  second.push_back(three);
  second.push_back(four);
  first.splice_back(second);
  CHECK(second.empty());
  CHECK(names(first) == std::vector{1, 2, 3, 4});
  first.splice_back(second);
  CHECK(names(first) == std::vector{1, 2, 3, 4});
  second.splice_back(first);
  CHECK(first.empty());
  CHECK(names(second) == std::vector{1, 2, 3, 4});
}

TEST_CASE("for_each skips members that leave before their turn, also by their destruction") {
  Item one(1), two(2), three(3);
  auto four = std::make_unique<Item>(4);
  List<Item> list;
  list.push_back(one);
  list.push_back(two);
  list.push_back(*four);
  list.push_back(three);
  std::vector<int> visited;
  list.for_each([&](Item& item) {
    visited.push_back(item.name);
    if (item.name == 1) {
      static_cast<Link<Item>&>(one).unlink();
      static_cast<Link<Item>&>(two).unlink();
      four.reset();
    }
  });
  CHECK(visited == std::vector{1, 3});
  CHECK(names(list) == std::vector{3});
}

TEST_CASE("for_each does not visit members that come meanwhile") {
  Item one(1), two(2);
  List<Item> list;
  list.push_back(one);
  int visits = 0;
  list.for_each([&](Item&) {
    ++visits;
    list.push_back(two);
  });
  CHECK(visits == 1);
  CHECK(names(list) == std::vector{1, 2});
}
