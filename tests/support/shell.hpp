#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>
#include <utility>

namespace postrec::test {

/// What a shell command prints, standard error included; its exit code first, -1 when it did not exit.
inline std::pair<int, std::string> shell(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
}

}  // namespace postrec::test
