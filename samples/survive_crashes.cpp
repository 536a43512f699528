// A calculator with bugs, and inputs that find them: the result of every good one, and a report of the bad ones.
#include <sys/resource.h>

#include <cctype>
#include <cofork/cofork.hpp>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;

class SyntaxError : public std::exception {
 public:
  SyntaxError() = default;
  SyntaxError(std::size_t column, std::string message) : column_(column), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  std::size_t column() const { return column_; }

  // What makes it travel between processes.
  template <class Archive>
  void serialize(Archive& archive) {
    archive(column_, message_);
  }

 private:
  std::size_t column_ = 0;
  std::string message_;
};

class Calculator {
 public:
  explicit Calculator(std::string_view text) : text_(text) {}

  long sum() {
    long total = term();
    while (next() == '+') {
      ++position_;
      total += term();
    }
    return total;
  }
  void finish() {
    if (position_ < text_.size()) fail("the end was expected");
  }

 private:
  long term() {
    const char first = next();
    if (std::isdigit(static_cast<unsigned char>(first))) return number();
    if (std::isalpha(static_cast<unsigned char>(first))) return *variable(text_.substr(position_++, 1));
    if (first == '(') {
      ++position_;
      const long value = sum();
      if (next() != ')') fail("a ) was expected");
      ++position_;
      return value;
    }
    if (first == '[') {  // the sum of so many ones, which somebody thought was to be a list
      ++position_;
      const std::vector<long> ones(static_cast<std::size_t>(number()), 1);
      ++position_;
      long total = 0;
      for (const long one : ones) total += one;
      return total;
    }
    fail("a number was expected");
  }

  long number() {
    long value = 0;
    while (std::isdigit(static_cast<unsigned char>(next()))) value = value * 10 + (text_[position_++] - '0');
    return value;
  }

  // Null for a variable that there is not, of which nobody has thought.
  [[gnu::noinline]] static const long* variable(std::string_view name) {
    static const long a = 1, b = 2;
    return name == "a" ? &a : name == "b" ? &b : nullptr;
  }

  // The next character that is neither a space nor in a { comment }, whose end nobody makes sure of.
  char next() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '{')) {
      if (text_[position_] == '{')
        while (text_[position_] != '}') position_ = (position_ + 1) % text_.size();
      ++position_;
    }
    return position_ < text_.size() ? text_[position_] : '\0';
  }

  [[noreturn]] void fail(const char* message) const { throw SyntaxError(position_ + 1, message); }

  std::string_view text_;
  std::size_t position_ = 0;
};

long calculate(std::string_view text) {
  Calculator calculator(text);
  const long value = calculator.sum();
  calculator.finish();
  return value;
}

void limit_memory() {
  const rlimit limit{std::size_t{1} << 30, std::size_t{1} << 30};
  ::setrlimit(RLIMIT_DATA, &limit);
}

cofork::Task<> calculate_all() {
  const std::vector<std::string> inputs = {"1 + 2",      "a + b + 10", "1 + c",         "(1 + 2) + (3 + 4)",
                                           "1 + { one",  "[5] + 1",    "[10000000000]", "1 + ",
                                           "{ two } 2 ", "(1 + 2",     "40 + b"};
  cofork::ProcessPoolExecutor pool(cofork::PoolOptions{.max_workers = 2}, limit_memory);
  auto values = pool.map({.item_timeout = 2s}, calculate, inputs);
  std::vector<std::string> report;
  for (const std::string& input : inputs) {
    std::string problem;
    try {
      auto value = co_await values.next();
      std::printf("%s = %ld\n", input.c_str(), *value);
    } catch (const SyntaxError& error) {
      problem = "column " + std::to_string(error.column()) + ": " + error.what();
    } catch (const std::exception& error) {  // WorkerDied, TimeoutError, std::bad_alloc
      problem = error.what();
    }
    if (!problem.empty()) report.push_back(input + "\n    " + problem);
  }
  std::printf("\n%zu of %zu inputs are bad:\n", report.size(), inputs.size());
  for (const std::string& line : report) std::printf("  %s\n", line.c_str());
}

int main() {
  cofork::register_exception<SyntaxError>();
  cofork::run(calculate_all());
}
