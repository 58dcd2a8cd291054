#include "cli/run_main.hpp"

#include <c10/util/Exception.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <new>
#include <utility>

#include "cli/bus_error.hpp"
#include "cli/console.hpp"
#include "cli/freed_memory.hpp"
#include "cli/interrupt.hpp"
#include "postrec/error.hpp"
#include "postrec/out_of_memory.hpp"

namespace postrec {
namespace {

constexpr const char* kMemoryHint = "use a smaller --batch-size, fewer --samples or one --slice";

std::function<void(const Failure&)>& listener() {
  static std::function<void(const Failure&)> tell;
  return tell;
}

int report(int code, const std::string& message, const std::string& hint) {
  console().error(code, message, hint);
  if (!listener()) return code;
  try {
    listener()({code, message, hint});
  } catch (const std::exception& error) {
    console().warning(error.what());
  }
  return code;
}

int report(ErrorKind kind, const std::string& message, const std::string& hint = {}) { return report(static_cast<int>(kind), message, hint); }

/// Errors come before the options are parsed, too, so the format of the log is looked for by hand.
void find_log_format(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool pair = arguments[i] == "--log-format" && i + 1 < arguments.size() && arguments[i + 1] == "json";
    if (pair || arguments[i] == "--log-format=json") console().format = LogFormat::kJson;
  }
}

}  // namespace

void on_failure(std::function<void(const Failure&)> tell) { listener() = std::move(tell); }

int run_main(int argc, char** argv, const std::function<int(const std::vector<std::string>&)>& body) {
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  find_log_format(arguments);
  catch_bus_errors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not become larger is then a write that fails
  keep_freed_memory();
  try {
    const int code = body(arguments);
    if (!std::cout.flush()) throw Error(ErrorKind::kInputOutput, "cannot write to standard output", "is its disk full?");
    return code;
  } catch (const Error& error) {
    const bool interrupted = error.kind() == ErrorKind::kInterrupted && interrupting_signal() != 0;
    const int code = interrupted ? 128 + interrupting_signal() : error.exit_code();
    return report(code, error.message(), error.hint());
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::kOutOfMemory, "out of memory", kMemoryHint);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return is_out_of_memory(error) ? report(ErrorKind::kOutOfMemory, text, kMemoryHint) : report(ErrorKind::kInternal, text);
  } catch (const std::filesystem::filesystem_error& error) {
    // What it says holds paths, and those below a folder that was given may hold patients' names.
    const int reason = error.code().value();
    const bool cannot_open = reason == ENOENT || reason == ELOOP || reason == ENAMETOOLONG || reason == ENOTDIR || reason == EACCES;
    return report(cannot_open ? ErrorKind::kNoInput : ErrorKind::kInputOutput, "a file or folder cannot be used: " + error.code().message(), "check what was given, and what lies in its folders");
  } catch (const std::exception& error) {
    return report(ErrorKind::kInternal, error.what());
  } catch (...) {
    return report(ErrorKind::kInternal, "unknown exception");
  }
}

}  // namespace postrec
