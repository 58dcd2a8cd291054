#include "cli/interrupt.hpp"

#include <csignal>

namespace postrec {
namespace {

volatile std::sig_atomic_t pending_signal = 0;

void on_signal(int signal) { pending_signal = signal; }

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;  // the second signal meets the default action; reads and writes go on after the first
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int interrupting_signal() { return pending_signal; }

}  // namespace postrec
