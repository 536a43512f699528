// A doubly linked list whose links live in its members: nothing is allocated, and a member that is destroyed leaves the
// list by itself.
#pragma once

namespace cofork::detail {

/// A place in at most one list. `Tag` tells the links apart where one object can be in several lists.
template <class Tag>
class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { unlink(); }

  bool linked() const noexcept { return next_ != nullptr; }

  void unlink() noexcept {
    if (!next_) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = previous_ = nullptr;
  }

 private:
  template <class, class>
  friend class List;
  Link* previous_ = nullptr;
  Link* next_ = nullptr;
};

/// A list of `T`, which derives from `Link<Tag>`. The list owns nothing: its members are unlinked when it is destroyed.
template <class T, class Tag = T>
class List {
 public:
  List() noexcept { head_.next_ = head_.previous_ = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() {
    while (!empty()) head_.next_->unlink();
    head_.next_ = head_.previous_ = nullptr;
  }

  bool empty() const noexcept { return head_.next_ == &head_; }
  T& front() noexcept { return static_cast<T&>(*head_.next_); }

  void push_back(T& item) noexcept { insert(item, *head_.previous_, head_); }
  void push_front(T& item) noexcept { insert(item, head_, *head_.next_); }

  T& pop_front() noexcept {
    T& first = front();
    static_cast<Link<Tag>&>(first).unlink();
    return first;
  }

  /// Moves every member of `other` to the end of this list.
  void splice_back(List& other) noexcept {
    if (other.empty()) return;
    Link<Tag>* first = other.head_.next_;
    Link<Tag>* last = other.head_.previous_;
    first->previous_ = head_.previous_;
    head_.previous_->next_ = first;
    last->next_ = &head_;
    head_.previous_ = last;
    other.head_.next_ = other.head_.previous_ = &other.head_;
  }

  /// Calls `visit` with every member that is in the list now and still is when its turn comes: `visit` may take out
  /// any.
  template <class F>
  void for_each(F&& visit) {
    List waiting;
    waiting.splice_back(*this);
    while (!waiting.empty()) {
      T& item = waiting.pop_front();
      push_back(item);
      visit(item);
    }
  }

 private:
  static void insert(T& item, Link<Tag>& before, Link<Tag>& after) noexcept {
    Link<Tag>& link = item;
    link.previous_ = &before;
    link.next_ = &after;
    before.next_ = after.previous_ = &link;
  }

  Link<Tag> head_;
};

}  // namespace cofork::detail
