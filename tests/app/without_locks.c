/* Preloaded, it makes a file system without locks of every one, as some network file systems are. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

static int without_locks(int file, int command, void* argument) {
  if (command == F_OFD_SETLK || command == F_OFD_GETLK) {
    errno = ENOLCK;
    return -1;
  }
  return (int)syscall(SYS_fcntl, file, command, argument);
}

#define REPLACE(name)                                                          \
  __attribute__((visibility("default"))) int name(int file, int command, ...) { \
    va_list rest;                                                              \
    va_start(rest, command);                                                   \
    void* argument = va_arg(rest, void*);                                      \
    va_end(rest);                                                              \
    return without_locks(file, command, argument);                             \
  }

REPLACE(fcntl)
REPLACE(fcntl64)
