// The help of every command in the table of commands, and what is made from it: the manual page and the completion of shells.
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <sstream>

#include "app_fixture.hpp"
#include "cli/wrapped_text.hpp"
#include "commands/all_command_texts.hpp"
#include "commands/commands.hpp"

namespace postrec {
namespace {

constexpr std::size_t kColumns = 100;
constexpr std::ptrdiff_t kLines = 50;

bool has_program(const std::string& name) { return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0; }

/// What each command may be asked: "reconstruct", "batch", "batch run", ...
std::vector<std::vector<std::string>> all_commands() {
  std::vector<std::vector<std::string>> words;
  for (const Command& command : commands()) {
    words.push_back({command.name});
    for (const char* word : command.words) words.push_back({command.name, word});
  }
  return words;
}

void expect_narrow(const std::string& text, const std::string& what) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) EXPECT_LE(line.size(), kColumns) << what << ": " << line;
}

TEST(Help, OfEveryCommandFitsAScreenAndShowsAnExample) {
  for (auto words : all_commands()) {
    words.push_back("--help");
    const Ended ended = run_postrec(words);
    const std::string name = testing::PrintToString(words);
    EXPECT_EQ(ended.code, 0) << name;
    EXPECT_EQ(ended.err, "") << name;
    EXPECT_LE(std::count(ended.out.begin(), ended.out.end(), '\n'), kLines) << name;
    EXPECT_NE(ended.out.find("\nExample:\n  postrec "), std::string::npos) << name << ended.out;
    expect_narrow(ended.out, name);
  }
}

TEST(Help, OfGroupsIsNarrow) {
  for (const auto& words : {std::vector<std::string>{"reconstruct", "--help-sampling"}, {"reconstruct", "--help-noise"}, {"calibrate", "--help-prior-truths"}, {"train", "--kind", "network", "--help"}}) {
    const Ended ended = run_postrec(words);
    EXPECT_EQ(ended.code, 0);
    EXPECT_NE(ended.out.find("--"), std::string::npos);
    expect_narrow(ended.out, testing::PrintToString(words));
  }
}

TEST(Help, EveryCommandIsInTheTextsWithItsOptions) {
  const std::vector<CommandText> texts = all_command_texts();
  for (const auto& words : all_commands()) {
    if (words.front() == "help" || (words.size() == 1 && std::string(words.front()) != "reconstruct" && (words.front() == "batch" || words.front() == "pacs"))) continue;
    const std::string name = words.size() == 1 ? words[0] : words[0] + " " + words[1];
    const auto found = std::find_if(texts.begin(), texts.end(), [&](const CommandText& text) { return text.name == name; });
    ASSERT_NE(found, texts.end()) << name;
    EXPECT_FALSE(found->sections.front().options.empty()) << name;
  }
}

TEST(Help, WrappedTextKeepsWordsAndIndents) {
  EXPECT_EQ(wrapped("one two three\n  four five six", 9), "one two\nthree\n  four\n  five\n  six");
  EXPECT_EQ(wrapped("unbreakable word", 5), "unbreakable\nword");
  EXPECT_EQ(wrapped("fits\n", 9), "fits\n");
  EXPECT_EQ(wrapped_command("postrec x --name \"a b\" --output out", 24), "  postrec x \\\n    --name \"a b\" \\\n    --output out");
}

class ManPage : public AppTest {
 protected:
  /// What a checker says of a page; an empty one passes.
  std::string complaints(const std::string& checker, const std::string& page) const {
    const std::string command = checker + " '" + path(page) + "' >'" + path("said") + "' 2>&1";
    const int status = std::system(command.c_str());
    const std::string said = content("said");
    return WEXITSTATUS(status) == 0 ? said : "exit code " + std::to_string(WEXITSTATUS(status)) + ": " + said;
  }
};

TEST_F(ManPage, HasEveryOptionAndRenders) {
  const Ended page = run_postrec({"help", "--man"});
  ASSERT_EQ(page.code, 0) << page.err;
  write_text("postrec.1", page.out);
  ASSERT_EQ(page.out.rfind(".\\\"", 0), 0u);
  for (const char* words : {"\n.TH POSTREC 1 ", "\n.SS \"postrec reconstruct INPUT [options]\"", "\\fB\\-\\-prior\\fR \\fIPRIOR\\fR", "\\fB\\-q\\fR, \\fB\\-\\-quiet\\fR", "\n.SH \"EXIT STATUS\"", "not a medical device",
                            "\\fB\\-\\-sampler\\-set\\fR", "postrec batch run", "postrec pacs send"})
    EXPECT_NE(page.out.find(words), std::string::npos) << words;
  const bool groff = has_program("groff"), mandoc = has_program("mandoc");
  if (!groff && !mandoc) GTEST_SKIP() << "neither groff nor mandoc is installed";
  EXPECT_EQ(groff ? complaints("groff -man -Tutf8 -ww -z", "postrec.1") : "", "");
  EXPECT_EQ(mandoc ? complaints("mandoc -Tlint -Wwarning", "postrec.1") : "", "");
}

TEST_F(ManPage, OfOneCommandHoldsItAlone) {
  for (const char* command : {"simulate", "batch"}) {
    const Ended page = run_postrec({"help", "--man", command});
    ASSERT_EQ(page.code, 0) << page.err;
    write_text("one.1", page.out);
    EXPECT_NE(page.out.find(std::string("postrec ") + command), std::string::npos);
    EXPECT_EQ(page.out.find("postrec train"), std::string::npos);
    EXPECT_EQ(has_program("mandoc") ? complaints("mandoc -Tlint -Wwarning", "one.1") : "", "");
  }
  expect_error(run_postrec({"help", "--man", "simulat"}), 64, {"simulat"});
}

class Completion : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    for (const char* shell : {"bash", "zsh"}) {
      const Ended script = run_postrec({"help", "--completion", shell});
      ASSERT_EQ(script.code, 0) << script.err;
      write_text(shell, script.out);
    }
  }
};

/// Types into a shell on a terminal of its own until `wanted` is seen; returns all that was.
std::string typed(const std::string& keys, const std::string& wanted) {
  constexpr int kPatience_s = 30;              // for a machine under load; it takes a tenth of a second otherwise
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, nullptr);
  if (pid == 0) {
    setenv("TERM", "dumb", 1);
    execlp("bash", "bash", "--norc", "--noprofile", "-i", static_cast<char*>(nullptr));
    _exit(127);
  }
  EXPECT_EQ(write(terminal, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  std::string seen;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kPatience_s);
  while (seen.find(wanted) == std::string::npos && std::chrono::steady_clock::now() < end) {
    pollfd readable = {terminal, POLLIN, 0};
    std::array<char, 4096> buffer;
    if (poll(&readable, 1, 200) <= 0) continue;
    const ssize_t n = read(terminal, buffer.data(), buffer.size());
    if (n <= 0) break;
    seen.append(buffer.data(), static_cast<std::size_t>(n));
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  close(terminal);
  return seen;
}

TEST_F(Completion, TabInBashCompletesAnOption) {
  if (!has_program("bash")) GTEST_SKIP() << "bash is not installed";
  // The function shows what the shell made of the line: the marks cannot come from the echo of the keys.
  const std::string seen = typed("source '" + path("bash") + "'; postrec() { printf '<%s>' \"$@\"; }\npostrec reconstruct --pri\tmine\n", "<--prior><mine>");
  EXPECT_NE(seen.find("<reconstruct><--prior><mine>"), std::string::npos) << seen;
}

TEST_F(Completion, KnowsCommandsWordsAndFiles) {
  if (!has_program("bash")) GTEST_SKIP() << "bash is not installed";
  const auto offered = [&](const std::string& line) {
    const std::string command = "cd '" + folder_.string() + "' && bash --norc -c 'source ./bash; COMP_WORDS=(" + line + "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _postrec; echo \"${COMPREPLY[*]}\"' >said";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return content("said");
  };
  EXPECT_EQ(offered("postrec recon"), "reconstruct\n");
  EXPECT_EQ(offered("postrec plugins de"), "describe\n");
  EXPECT_EQ(offered("postrec batch su"), "submit\n");
  EXPECT_EQ(offered("postrec batch run --sh"), "--shard\n");
  EXPECT_EQ(offered("postrec train --learn"), "--learning-rate\n");         // of a group
  EXPECT_EQ(offered("postrec reconstruct --prior real"), "real.safetensors\n");
  EXPECT_EQ(offered("postrec reconstruct --prior = real"), "real.safetensors\n");
  EXPECT_EQ(offered("postrec reconstruct --samples \"\""), "\n");             // a number
  EXPECT_EQ(offered("postrec help exit"), "exit-codes\n");
}

TEST_F(Completion, ZshTakesTheScript) {
  if (!has_program("zsh")) GTEST_SKIP() << "zsh is not installed";
  EXPECT_EQ(std::system(("zsh -n '" + path("zsh") + "'").c_str()), 0);
  EXPECT_NE(content("zsh").find("#compdef postrec\n"), std::string::npos);
  EXPECT_NE(content("zsh").find("'*--prior=["), std::string::npos);
}

TEST_F(Completion, OfAnotherShellIsAnError) { expect_error(run_postrec({"help", "--completion", "fish"}), 64, {"fish", "bash"}); }

}  // namespace
}  // namespace postrec
