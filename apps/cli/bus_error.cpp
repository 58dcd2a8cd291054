#include "cli/bus_error.hpp"

#include <unistd.h>

#include <csignal>
#include <string>

#include "cli/console.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

/// Made before, because a handler may not allocate.
std::string& last_words() {
  static std::string words;
  return words;
}

void on_bus_error(int signal, siginfo_t* what, void*) {
  if (what->si_code != BUS_ADRERR) {           // not a page that is missing, but a defect
    ::signal(signal, SIG_DFL);
    ::raise(signal);
    return;
  }
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, last_words().data(), last_words().size());
  ::_exit(static_cast<int>(ErrorKind::kInputOutput));
}

}  // namespace

void catch_bus_errors() {
  const std::string message = "a file that is in use cannot be read on: it was cut, or the disk fails", hint = "leave inputs alone while a run works, and check the disk";
  last_words() = console().json() ? "{\"level\":\"error\",\"exit_code\":" + std::to_string(static_cast<int>(ErrorKind::kInputOutput)) + ",\"message\":\"" + message + "\",\"hint\":\"" + hint + "\"}\n"
                                  : "postrec: error: " + message + "; " + hint + "\n";
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace postrec
