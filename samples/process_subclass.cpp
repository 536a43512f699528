// A process as a class of its own: what it needs are its members, what it does is `run`.
#include <cofork/cofork.hpp>
#include <cstdio>
#include <string>
#include <vector>

class LetterCounter : public cofork::Process {
 public:
  LetterCounter(std::string text, char letter)
      : Process({.name = std::string("counter of ") + letter}), text_(std::move(text)), letter_(letter) {}

  void run() override {
    int count = 0;
    for (const char c : text_) count += c == letter_;
    std::printf("%s: %d in %zu letters\n", name().c_str(), count, text_.size());
  }

 private:
  std::string text_;
  char letter_;
};

int main() {
  std::vector<LetterCounter> counters;
  for (const char letter : {'a', 'e', 'n'}) counters.emplace_back("many processes, one class", letter);
  for (LetterCounter& counter : counters) {
    counter.start();
    counter.blocking_join();  // one after the other, for the order of the lines
  }
}
