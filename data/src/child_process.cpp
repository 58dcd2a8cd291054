#include "child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <new>

#include "postrec/error.hpp"

namespace postrec {

namespace {

constexpr unsigned kWallPerCpu = 10;  // a busy machine is no reason to give up, a child that waits for ever is
constexpr int kFinished = 0, kException = 1, kNoMemory = 2;

void limit(int resource, std::uint64_t value) {
  const rlimit both{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  ::setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

/// Address space in use. A process with CUDA or a sanitizer has mapped terabytes, so a limit can only be relative to it.
std::uint64_t mapped_bytes() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void child_main(const std::function<void()>& work, const ChildLimits& limits) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A crash is to end the child and nothing else; Ctrl-C and a cluster's SIGTERM are for the parent to answer.
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGXCPU, SIGALRM}) ::signal(signal, SIG_DFL);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) ::dup2(nowhere, fd);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, limits.cpu_seconds);
  ::alarm(kWallPerCpu * limits.cpu_seconds);
  limit_memory(limits.memory_bytes);
  try {
    work();
  } catch (const std::bad_alloc&) {
    ::_exit(kNoMemory);
  } catch (...) {
    ::_exit(kException);
  }
  ::_exit(kFinished);
}

std::string signal_name(int signal) {
  // At its limit the kernel sends SIGKILL when SIGXCPU is not enough.
  if (signal == SIGXCPU || signal == SIGKILL || signal == SIGALRM) return "out of time";
  const char* name = ::sigabbrev_np(signal);
  return name ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

}  // namespace

void limit_memory(std::uint64_t bytes) { limit(RLIMIT_AS, mapped_bytes() + bytes); }

SharedMemory::SharedMemory(std::size_t n_bytes)
    : data_(::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)), n_bytes_(n_bytes) {
  if (data_ == MAP_FAILED)
    throw Error(ErrorKind::kOutOfMemory, "no memory for " + std::to_string(n_bytes) + " bytes of pixels", "read one slice at a time");
}

SharedMemory::~SharedMemory() { ::munmap(data_, n_bytes_); }

std::string run_in_child(const std::function<void()>& work, const ChildLimits& limits) {
  const pid_t child = ::fork();
  if (child < 0)
    throw Error(ErrorKind::kTemporary, std::string("no process can be started: ") + std::strerror(errno),
                "try again when the machine is less busy");
  if (child == 0) child_main(work, limits);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Error(ErrorKind::kInternal, std::string("a child process was lost: ") + std::strerror(errno));
  if (WIFSIGNALED(status)) return signal_name(WTERMSIG(status));
  switch (WEXITSTATUS(status)) {
    case kFinished:
      return {};
    case kNoMemory:
      return "out of memory";
    default:
      return "an exception";
  }
}

}  // namespace postrec
