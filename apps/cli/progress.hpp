#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "postrec/observer.hpp"

namespace postrec {

/// Shows how far a job of several parts (slices, scans) is, on stderr: a bar with the time left on a terminal, one JSON object a line
/// with --log-format json, nothing elsewhere. Also says whether the user interrupted.
class Progress : public Observer {
 public:
  explicit Progress(std::int64_t n_parts);
  ~Progress() override;

  /// The steps that follow belong to this part, counted from 0.
  void begin_part(std::int64_t part) { part_ = part; }
  /// For parts that have no steps.
  void finish_part(std::int64_t part);
  /// Makes room on the terminal for a line of somebody else's.
  void clear_bar();

  void on_step(const Step& step) override;
  void on_message(const std::string& text) override;
  bool cancelled() const override;

 private:
  using Clock = std::chrono::steady_clock;

  void draw_bar(double fraction, double seconds_left, const Step& step);

  std::int64_t n_parts_;
  std::int64_t part_ = 0;
  bool terminal_;
  bool bar_drawn_ = false;
  std::int64_t n_messages_ = 0;
  Clock::time_point start_;
  Clock::time_point last_shown_;
};

/// "1:05", "2:03:20".
std::string clock_text(double seconds);

}  // namespace postrec
