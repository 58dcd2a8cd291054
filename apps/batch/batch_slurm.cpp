#include "batch/batch_slurm.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <regex>
#include <sstream>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

/// For a shell: in single quotes.
std::string shell_word(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

/// #SBATCH lines know no reliable quoting, and % has a meaning there.
void require_plain_path(const std::filesystem::path& path) {
  static const std::regex kPlain("[A-Za-z0-9_./+=:@,-]+");
  if (!std::regex_match(path.string(), kPlain))
    throw Error(ErrorKind::kUsage, "Slurm cannot be given the folder " + quoted_path(path), "use one whose path has letters, digits and _ . / + = : @ , - alone");
}

/// "array" of "--array=1-20%5", "a" of "-a 1-20%5".
std::string option_name(const std::string& option) {
  const auto begin = option.find_first_not_of('-');
  if (begin == std::string::npos) return "";
  return begin == 1 ? option.substr(1, 1) : option.substr(begin, option.find_first_of("= ", begin) - begin);
}

bool is_one_of(const std::string& option, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [name = option_name(option)](const char* known) { return name == known; });
}

/// "%5" of "--array=%5", how many elements may run at a time. The elements themselves are those of the request.
std::string throttle(const std::string& option) {
  static const std::regex kThrottle("--array[= ](%[1-9][0-9]*)");
  std::smatch match;
  if (!std::regex_match(option, match, kThrottle)) throw Error(ErrorKind::kUsage, "--sbatch '" + option + "' chooses elements of the array, which are those of --slurm", "--sbatch array=%5 lets five run at a time");
  return match[1];
}

/// The script's beginning: what is needed first, then what the user says, which Slurm then goes by.
std::string head(const SlurmRequest& request, const std::string& name, const std::string& log, const std::vector<std::string>& needed, std::initializer_list<const char*> without) {
  require_plain_path(request.output);
  std::string text = "#!/bin/sh\n#SBATCH --job-name=" + name + "\n#SBATCH --output=" + (request.output / ".events" / log).string() + "\n";
  for (const auto& option : needed) text += "#SBATCH " + option + "\n";
  for (const auto& option : request.options)
    if (!is_one_of(option, without)) text += "#SBATCH " + option + "\n";
  return text;
}

constexpr int kNotFound = 127;

/// Runs sbatch with `script` on its standard input and returns what it printed.
std::string sbatch(const std::string& script, const std::vector<std::string>& options) {
  std::vector<std::string> words = {"sbatch", "--parsable"};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::array<int, 2> in{}, out{};
  if (::pipe(in.data()) != 0 || ::pipe(out.data()) != 0) throw Error(ErrorKind::kTemporary, "no pipe can be made", "try again later");
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(in[0], STDIN_FILENO);
    for (const int to : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(out[1], to);
    for (const int end : {in[0], in[1], out[0], out[1]}) ::close(end);
    ::execvp(arguments[0], arguments.data());
    ::_exit(kNotFound);
  }
  ::close(in[0]);
  ::close(out[1]);
  const auto old = ::signal(SIGPIPE, SIG_IGN);  // sbatch may end before it has read all
  const bool given = ::write(in[1], script.data(), script.size()) == static_cast<ssize_t>(script.size());
  ::close(in[1]);
  std::string said;
  std::array<char, 512> buffer;
  for (ssize_t n; (n = ::read(out[0], buffer.data(), buffer.size())) > 0;) said.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(out[0]);
  ::signal(SIGPIPE, old);
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (child < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == kNotFound))
    throw Error(ErrorKind::kUnavailable, "sbatch cannot be run", "install Slurm's commands, or leave out --submit and give the script to another machine");
  if (!given || status != 0) throw Error(ErrorKind::kTemporary, "sbatch refused the job: " + said, "see its message");
  // With it comes what a site's plugins have to tell.
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    const std::string number = line.substr(0, line.find(';'));
    if (!number.empty() && number.find_first_not_of("0123456789") == std::string::npos) return number;
  }
  throw Error(ErrorKind::kTemporary, "sbatch took the job and said no number: " + said, "see its message; the job may be queued");
}

}  // namespace

std::string slurm_array_script(const SlurmRequest& request) {
  const std::string n = std::to_string(request.n_tasks);
  std::string array = "--array=1-" + n;
  for (const auto& option : request.options)
    if (is_one_of(option, {"array", "a"})) array = "--array=1-" + n + throttle(option);
  return head(request, "postrec", "slurm-%A_%a.log", {array, "--requeue", "--open-mode=append", "--signal=B:TERM@120"}, {"array", "a"}) + "exec " +
         shell_word(request.program.string()) + " batch run " + shell_word(request.output.string()) + " --shard \"$SLURM_ARRAY_TASK_ID/" + n + "\"\n";
}

std::string slurm_report_script(const SlurmRequest& request) {
  return head(request, "postrec-report", "slurm-%j.log", {}, {"array", "a", "signal", "requeue", "no-requeue"}) + "exec " + shell_word(request.program.string()) + " batch report " + shell_word(request.output.string()) + "\n";
}

SubmittedJobs submit_to_slurm(const SlurmRequest& request) {
  SubmittedJobs jobs;
  jobs.array = sbatch(slurm_array_script(request), {});
  jobs.report = sbatch(slurm_report_script(request), {"--dependency=afterany:" + jobs.array});
  return jobs;
}

}  // namespace postrec
