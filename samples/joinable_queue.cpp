// Two producers, and two daemonic consumers that loop for ever: `join` returns when the work on everything that was put
// is done, and the consumers end with the program.
#include <cofork/cofork.hpp>
#include <cstdio>

using cofork::Process;
using cofork::ipc::JoinableQueue;
using cofork::ipc::Value;

void produce(JoinableQueue<int> tasks, int first) {
  for (int i = 0; i < 50; ++i) tasks.blocking_put(first + i);
}

void consume(JoinableQueue<int> tasks, Value<long> sum) {
  for (;;) {
    int task = tasks.blocking_get();
    sum.with_lock([&](long& total) { total += task; });
    tasks.task_done();
  }
}

cofork::Task<> share_the_work() {
  JoinableQueue<int> tasks(10);  // producers wait while ten tasks do
  Value<long> sum;
  Process first(produce, tasks, 0), second(produce, tasks, 50);
  Process third({.daemon = true}, consume, tasks, sum), fourth({.daemon = true}, consume, tasks, sum);
  for (Process* process : {&first, &second, &third, &fourth}) process->start();
  co_await first.join();
  co_await second.join();
  co_await tasks.join();
  std::printf("the sum of 0 to 99 is %ld\n", sum.get());
}

int main() { cofork::run(share_the_work()); }
