#include "trust.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "postrec/error.hpp"

namespace postrec {
namespace {

bool is_trusted_owner(uid_t owner) {
  if (owner == 0 || owner == geteuid()) return true;
  // Whoever owns the program decides already what runs.
  struct stat program;
  return stat("/proc/self/exe", &program) == 0 && owner == program.st_uid;
}

}  // namespace

void check_trusted(const std::filesystem::path& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0)
    throw Error(ErrorKind::kUnavailable, "cannot look at '" + path.string() + "': " + std::strerror(errno), "give an existing path");
  if (status.st_mode & S_IWOTH)
    throw Error(ErrorKind::kUnavailable, "'" + path.string() + "' is writable by everybody", "chmod o-w it, after checking what is in it");
  if (!is_trusted_owner(status.st_uid))
    throw Error(ErrorKind::kUnavailable, "'" + path.string() + "' belongs to user " + std::to_string(status.st_uid),
                "plugins must belong to root, to you or to the owner of the program");
}

std::set<std::string> read_allow_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kNoInput, "cannot open the allow file '" + path.string() + "'", "give a readable file");
  std::set<std::string> hashes;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    std::string hash;
    std::istringstream(line) >> hash;
    if (hash.empty() || hash.front() == '#') continue;
    if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
      throw Error(ErrorKind::kConfiguration,
                  "allow file '" + path.string() + "', line " + std::to_string(number) + ": '" + hash.substr(0, 80) + "'",
                  "each line must begin with a sha256 of 64 lower-case hexadecimal digits");
    hashes.insert(hash);
  }
  if (file.bad()) throw Error(ErrorKind::kInputOutput, "reading the allow file '" + path.string() + "' failed", "give a readable file");
  return hashes;
}

}  // namespace postrec
