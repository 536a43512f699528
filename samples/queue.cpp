// Queues between processes: a writer, and a reader that loops for ever until it is terminated and answers through a
// queue of its own.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <string>

using cofork::ipc::Queue;

void write_words(Queue<std::string> words) {
  for (const char* word : {"alpha", "beta", "gamma"}) words.blocking_put(word);
}

void read_words(Queue<std::string> words, Queue<std::string> answers) {
  for (;;) {
    std::string word = words.blocking_get();
    answers.blocking_put(word + " has " + std::to_string(word.size()) + " letters");
  }
}

cofork::Task<> talk() {
  Queue<std::string> words, answers;
  cofork::Process writer(write_words, words), reader(read_words, words, answers);
  writer.start();
  reader.start();
  co_await writer.join();  // what it put stays in the queue, whoever has taken how much of it
  for (int i = 0; i < 3; ++i) {
    std::string answer = co_await answers.get();
    std::puts(answer.c_str());
  }

  reader.terminate();  // it would wait for ever
  co_await reader.join();
  std::printf("the reader ended with exit code %d\n", *reader.exitcode());

  // `next` ends by itself: no process is left that could put anything.
  while (auto answer = co_await answers.next()) std::puts(answer->c_str());
  std::puts("no more answers");
}

int main() { cofork::run(talk()); }
