#include "cli/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/console.hpp"
#include "cli/interrupt.hpp"

namespace postrec {
namespace {

constexpr int kBarWidth = 30;
constexpr std::chrono::milliseconds kInterval{200};
constexpr std::int64_t kMessagesShown = 3;

}  // namespace

std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  }
  return text;
}

Progress::Progress(std::int64_t n_parts)
    : n_parts_(std::max<std::int64_t>(n_parts, 1)), terminal_(isatty(STDERR_FILENO) == 1), start_(Clock::now()), last_shown_(start_ - kInterval) {}

Progress::~Progress() {
  clear_bar();
  if (n_messages_ > kMessagesShown) console().information(std::to_string(n_messages_ - kMessagesShown) + " more messages like these");
}

bool Progress::cancelled() const { return interrupting_signal() != 0; }

void Progress::on_message(const std::string& text) {
  if (++n_messages_ > kMessagesShown) return;  // each slice, batch and level may say the same
  clear_bar();
  console().information(text);
}

void Progress::finish_part(std::int64_t part) {
  begin_part(part);
  on_step({.done = 1, .total = 1});
}

void Progress::on_step(const Step& step) {
  const bool json = console().json();
  if (console().quiet || (!json && !terminal_)) return;
  const auto now = Clock::now();
  const bool last = part_ + 1 == n_parts_ && step.done == step.total;
  if (now - last_shown_ < kInterval && !last) return;
  last_shown_ = now;

  const double within_part = step.total > 0 ? static_cast<double>(step.done) / static_cast<double>(step.total) : 0.0;
  const double fraction = (static_cast<double>(part_) + within_part) / static_cast<double>(n_parts_);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double seconds_left = fraction > 0 ? seconds * (1 - fraction) / fraction : 0.0;
  if (!json) return draw_bar(fraction, seconds_left, step);
  const nlohmann::ordered_json line = {{"level", "progress"}, {"part", part_},        {"parts", n_parts_},          {"done", step.done},     {"total", step.total},
                                       {"sigma", step.sigma}, {"misfit", step.misfit}, {"fraction", fraction}, {"seconds_left", seconds_left}};
  std::fputs((line.dump() + "\n").c_str(), stderr);
}

void Progress::clear_bar() {
  if (bar_drawn_) std::fputs("\r\033[K", stderr);
  bar_drawn_ = false;
}

void Progress::draw_bar(double fraction, double seconds_left, const Step& step) {
  const int full = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kBarWidth);
  const std::string bar = std::string(full, '#') + std::string(kBarWidth - full, '.');
  std::fprintf(stderr, "\r\033[K[%s] %3.0f %%  %s left", bar.c_str(), 100 * fraction, clock_text(seconds_left).c_str());
  if (step.misfit > 0) std::fprintf(stderr, "  misfit %.2f", step.misfit);
  std::fflush(stderr);
  bar_drawn_ = true;
}

}  // namespace postrec
