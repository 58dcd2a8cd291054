#include "pacs_retry.hpp"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <thread>

namespace postrec {
namespace {

/// From .5 to 1, different in every process: many clients that lost one server shall not come back in the same moment. Not a part of any result, so not of RandomStreams.
double jitter() {
  std::uint32_t bits = 0;
  if (::getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits) return 1.0;
  return 0.5 + 0.5 * bits / 4294967295.0;
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

}  // namespace

void require_not_interrupted(const PacsHooks& hooks) {
  if (hooks.interrupted && hooks.interrupted()) throw Error(ErrorKind::kInterrupted, "interrupted", "the same command goes on where it stopped");
}

void PacsBackoff::wait_after(const Error& failure) {
  if (failure.kind() != ErrorKind::kTemporary) throw failure;
  if (++failures_ > retry_.retries) {
    const std::string tries = retry_.retries == 0 ? "" : " (tried " + std::to_string(failures_) + " times)";
    throw Error(ErrorKind::kPacs, failure.message() + tries, failure.hint());
  }
  const double seconds = jitter() * std::min(retry_.longest_seconds, retry_.first_seconds * std::pow(2.0, failures_ - 1));
  if (hooks_.say) hooks_.say(failure.message() + "; trying again in " + seconds_text(seconds));
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    require_not_interrupted(hooks_);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace postrec
