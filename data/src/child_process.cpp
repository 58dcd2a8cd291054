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

#include "postrec/atomic_file.hpp"
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

/// A file that no folder lists, where the file system knows such; otherwise its name is taken away at once.
int nameless_file(const std::filesystem::path& folder) {
  int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  std::string name = (folder / ".scratch-XXXXXX").string();
  file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0)
    throw Error(write_error_kind(errno), "no file can be made in " + quoted_path(folder) + ": " + std::strerror(errno), "give an output folder that you may write to");
  ::unlink(name.c_str());
  return file;
}

}  // namespace

Error no_disk_space(const std::filesystem::path& folder, std::uint64_t n_bytes, int failure) {
  return Error(ErrorKind::kInputOutput,
               "there is no room for " + std::to_string((n_bytes >> 20) + 1) + " MiB of intermediate images beside the output, in " + quoted_path(folder.parent_path()) + ": " +
                   std::strerror(failure),
               "free disk space, or give an output on a larger disk");
}

void limit_memory(std::uint64_t bytes) { limit(RLIMIT_AS, mapped_bytes() + bytes); }

SharedMemory::SharedMemory(std::size_t n_bytes, const std::filesystem::path& folder) : folder_(folder), file_(folder.empty() ? -1 : nameless_file(folder)), n_bytes_(n_bytes) {
  const int kind = folder.empty() ? MAP_ANONYMOUS | MAP_NORESERVE : 0;
  data_ = ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | kind, file_.get(), 0);
  if (data_ == MAP_FAILED)
    throw Error(ErrorKind::kOutOfMemory, "no memory for " + std::to_string(n_bytes) + " bytes of pixels", "read one slice at a time");
}

int SharedMemory::try_reserve(std::size_t n_bytes) const {
  return file_.get() < 0 ? 0 : ::posix_fallocate(file_.get(), 0, static_cast<off_t>(n_bytes));
}

void SharedMemory::reserve(std::size_t n_bytes) const {
  if (const int failure = try_reserve(n_bytes)) throw no_disk_space(folder_, n_bytes, failure);
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
