#include "browser.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace postrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kPatience_ms = 60000;            // a loaded machine may take long to start a browser; nothing waits so long otherwise

std::string program() {
  std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');)
    for (const char* name : {"chromium", "chromium-browser", "google-chrome"})
      if (access((folder + "/" + name).c_str(), X_OK) == 0) return folder + "/" + name;
  return "";
}

/// Chromium reads commands from descriptor 3 and writes to 4.
[[noreturn]] void become_browser(const fs::path& profile, int commands, int answers) {
  const int commands_high = fcntl(commands, F_DUPFD, 10), answers_high = fcntl(answers, F_DUPFD, 10);
  dup2(commands_high, 3);
  dup2(answers_high, 4);
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (const int descriptor : {0, 1, 2}) dup2(nowhere, descriptor);
  setpgid(0, 0);  // it has children of its own
  const std::string file = program(), user_data = "--user-data-dir=" + profile.string();
  // No sandbox: the tests may run as root in a container. The pages are ours.
  execl(file.c_str(), file.c_str(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--remote-debugging-pipe", user_data.c_str(), "about:blank", static_cast<char*>(nullptr));
  _exit(127);
}

}  // namespace

bool Browser::available() { return !program().empty(); }

Browser::Browser(const fs::path& profile) {
  std::array<int, 2> commands{}, answers{};
  if (pipe2(commands.data(), O_CLOEXEC) != 0 || pipe2(answers.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  signal(SIGPIPE, SIG_IGN);
  pid_ = fork();
  if (pid_ == 0) become_browser(profile, commands[0], answers[1]);
  close(commands[0]);
  close(answers[1]);
  to_ = commands[1];
  from_ = answers[0];
  const json target = command("Target.createTarget", {{"url", "about:blank"}});
  session_ = command("Target.attachToTarget", {{"targetId", target["targetId"]}, {"flatten", true}})["sessionId"];
  for (const char* domain : {"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"}) command(domain, json::object());
}

Browser::~Browser() {
  close(to_);
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(from_);
}

void Browser::open(const fs::path& page) {
  complaints_.clear();
  requests_.clear();
  loaded_ = false;
  command("Page.navigate", {{"url", "file://" + fs::absolute(page).string()}});
  while (!loaded_) notice(next_message());
}

json Browser::evaluate(const std::string& expression) {
  const json answer = command("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
  if (answer.contains("exceptionDetails")) throw std::runtime_error(answer["exceptionDetails"].dump());
  return answer["result"].value("value", json());
}

std::vector<std::string> Browser::requests() const {
  std::vector<std::string> addresses;
  for (const auto& [name, address] : requests_)
    if (address.rfind("data:", 0) != 0) addresses.push_back(address);
  return addresses;
}

void Browser::emulate(const std::string& medium, const std::string& scheme) {
  const json feature = {{"name", "prefers-color-scheme"}, {"value", scheme}};
  command("Emulation.setEmulatedMedia", {{"media", medium}, {"features", json::array({feature})}});
}

json Browser::command(const std::string& method, const json& parameters) {
  json message = {{"id", ++last_id_}, {"method", method}, {"params", parameters}};
  if (!session_.empty()) message["sessionId"] = session_;
  const std::string text = message.dump() + '\0';
  if (write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) throw std::runtime_error("the browser does not listen");
  for (;;) {
    const json answer = next_message();
    if (answer.value("id", 0) != last_id_) {
      notice(answer);
      continue;
    }
    if (answer.contains("error")) throw std::runtime_error(method + ": " + answer["error"].dump());
    return answer["result"];
  }
}

json Browser::next_message() {
  for (;;) {
    if (const auto end = unread_.find('\0'); end != std::string::npos) {
      const json message = json::parse(unread_.substr(0, end));
      unread_.erase(0, end + 1);
      return message;
    }
    pollfd readable = {from_, POLLIN, 0};
    std::array<char, 65536> buffer;
    const ssize_t n = poll(&readable, 1, kPatience_ms) > 0 ? read(from_, buffer.data(), buffer.size()) : 0;
    if (n <= 0) throw std::runtime_error("the browser does not answer");
    unread_.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

void Browser::notice(const json& event) {
  const std::string method = event.value("method", "");
  const json parameters = event.value("params", json::object());
  if (method == "Page.loadEventFired") loaded_ = true;
  if (method == "Runtime.exceptionThrown") complaints_.push_back(parameters["exceptionDetails"].dump());
  if (method == "Runtime.consoleAPICalled") complaints_.push_back(parameters["args"].dump());
  if (method == "Log.entryAdded") complaints_.push_back(parameters["entry"]["text"]);
  if (method == "Network.requestWillBeSent") requests_[parameters["requestId"]] = parameters["request"]["url"];
  if (method == "Network.loadingFailed" && parameters.value("blockedReason", "") == "csp") requests_.erase(parameters["requestId"].get<std::string>());
}

}  // namespace postrec
