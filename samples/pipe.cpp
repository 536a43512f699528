// A cook and a guest, and a pipe between them. Nobody says when the meal is over: the stream ends with the cook.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <string>

using namespace cofork;

void cook(ipc::Connection<std::string> counter) {
  for (const char* dish : {"soup", "roast", "pudding"}) {
    counter.blocking_send(dish);
    if (counter.blocking_recv() != "thank you") return;
  }
}

Task<> guest(ipc::Connection<std::string> counter) {
  while (auto dish = co_await counter.next()) {
    std::printf("the guest eats the %s\n", dish->c_str());
    co_await counter.send("thank you");
  }
  std::printf("the kitchen has closed\n");
}

Task<> dinner() {
  auto [kitchen_side, guest_side] = ipc::pipe<std::string>();
  Process kitchen(cook, kitchen_side);
  Process table(guest, guest_side);
  kitchen.start();
  table.start();
  co_await table.join();
  co_await kitchen.join();
}

int main() { run(dinner()); }
