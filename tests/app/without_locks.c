/* Preloaded, it makes a file system without locks of every one, as some network file systems are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

static int without_locks(const char* name, int file, int command, void* argument) {
  if (command == F_OFD_SETLK || command == F_OFD_GETLK) {
    errno = ENOLCK;
    return -1;
  }
  int (*real)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
  return real(file, command, argument);
}

#define REPLACE(name)                                                          \
  __attribute__((visibility("default"))) int name(int file, int command, ...) { \
    va_list rest;                                                              \
    va_start(rest, command);                                                   \
    void* argument = va_arg(rest, void*);                                      \
    va_end(rest);                                                              \
    return without_locks(#name, file, command, argument);                      \
  }

REPLACE(fcntl)
REPLACE(fcntl64)
