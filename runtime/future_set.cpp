#include <cofork/runtime/future_set.hpp>

namespace cofork::detail {

void FutureSet::listen() {
  for (const auto& state : states_)
    if (!state->done()) state->check_origin();
  nodes_ = std::vector<Node>(states_.size());
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i]->done()) continue;
    Node& node = nodes_[i];
    node.set = this;
    node.suspend(node.CallbackFrame::handle(), nullptr, "a future", nullptr);
    states_[i]->add_waiter(node);
  }
  want_next();
}

void FutureSet::Node::resumed(void* frame) {
  auto& node = static_cast<Node&>(*static_cast<CallbackFrame*>(frame));
  FutureSet& set = *node.set;
  const auto index = static_cast<std::size_t>(&node - set.nodes_.data());
  if (index == set.wanted_) set.want_next();
  set.future_ended(index);
}

// One result at a time is asked for, that of the first future that is not done: asking for all of them now would keep
// their makers from sending several together.
void FutureSet::want_next() {
  while (wanted_ < nodes_.size() && !nodes_[wanted_].linked()) ++wanted_;
  if (wanted_ < nodes_.size() && !states_[wanted_]->done()) states_[wanted_]->wanted();
}

void FutureSet::want_all() {
  for (std::size_t i = 0; i < states_.size(); ++i)
    if (!states_[i]->done()) states_[i]->wanted();
}

}  // namespace cofork::detail
