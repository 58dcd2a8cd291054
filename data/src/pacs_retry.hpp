#pragma once

#include "postrec/data/pacs_peer.hpp"
#include "postrec/error.hpp"

namespace postrec {

/// Counts failures and waits between tries.
class PacsBackoff {
 public:
  PacsBackoff(const PacsRetry& retry, const PacsHooks& hooks) : retry_(retry), hooks_(hooks) {}

  /// Something got through: the next failure is the first again.
  void progress() { failures_ = 0; }

  /// Waits before the next try. Throws what is to be told when there is none: Error(kPacs) after the last one, at once what is not temporary; Error(kInterrupted).
  void wait_after(const Error& failure);

 private:
  const PacsRetry& retry_;
  const PacsHooks& hooks_;
  int failures_ = 0;
};

/// Throws Error(kInterrupted) when the user asked for a stop.
void require_not_interrupted(const PacsHooks& hooks);

}  // namespace postrec
