#include "pacs_fixture.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

namespace postrec {
namespace fs = std::filesystem;
namespace {

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void append_number(std::string& bytes, std::uint32_t value, int n) {
  for (int i = 0; i < n; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
}

/// One element in explicit little endian.
std::string element(std::uint16_t group, std::uint16_t number, const std::string& vr, std::string value) {
  if (value.size() % 2) value += vr == "UI" || vr == "OB" ? '\0' : ' ';
  std::string bytes;
  append_number(bytes, group, 2);
  append_number(bytes, number, 2);
  bytes += vr;
  const bool is_long = vr == "OB" || vr == "OW";
  if (is_long) append_number(bytes, 0, 2);
  append_number(bytes, static_cast<std::uint32_t>(value.size()), is_long ? 4 : 2);
  return bytes + value;
}

std::string us(std::uint16_t group, std::uint16_t number, int value) {
  std::string bytes;
  append_number(bytes, static_cast<std::uint32_t>(value), 2);
  return element(group, number, "US", bytes);
}

std::string meta_header(const TestInstance& instance) {
  const std::string rest = element(2, 1, "OB", std::string("\0\1", 2)) + element(2, 2, "UI", instance.sop_class) + element(2, 3, "UI", instance.instance) +
                           element(2, 0x10, "UI", "1.2.840.10008.1.2.1") + element(2, 0x12, "UI", "1.2.3.999");
  std::string length;
  append_number(length, static_cast<std::uint32_t>(rest.size()), 4);
  return std::string(128, '\0') + "DICM" + element(2, 0, "UL", length) + rest;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

}  // namespace

Background::Background(const std::vector<std::string>& command, fs::path output) : output_(std::move(output)) {
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int file = open(output_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(file, STDOUT_FILENO);
  dup2(file, STDERR_FILENO);
  execvp(argv[0], argv.data());
  _exit(127);
}

Background::~Background() {
  if (pid_ > 0) stop(SIGKILL);
}

std::string Background::output() const { return content_of(output_); }

bool Background::wait_for(const std::string& text, double seconds) const {
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds); std::chrono::steady_clock::now() < end;) {
    if (output().find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

void Background::signal(int signal) const { kill(pid_, signal); }

int Background::stop(int signal) {
  kill(pid_, signal);
  return wait();
}

int Background::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string data_set_bytes(const TestInstance& i) {
  const std::string canary = "ZZCANARY";
  std::string pixels;
  for (int k = 0; k < i.rows * i.columns; ++k) append_number(pixels, static_cast<std::uint32_t>((k * 7 + i.seed * 131) & 0xfff), 2);
  return element(8, 0x16, "UI", i.sop_class) + element(8, 0x18, "UI", i.instance) + element(8, 0x20, "DA", "20200101") + (i.content_time.empty() ? "" : element(8, 0x33, "TM", i.content_time)) + element(8, 0x50, "SH", i.accession) +
         element(8, 0x60, "CS", "MR") + element(8, 0x80, "LO", canary + " CLINIC") + element(8, 0x90, "PN", canary + "^REFERRER") +
         element(0x10, 0x10, "PN", canary + "^PHI") + element(0x10, 0x20, "LO", "../../" + canary + "$(id)") + element(0x20, 0xd, "UI", i.study) +
         element(0x20, 0xe, "UI", i.series) + element(0x20, 0x13, "IS", std::to_string(i.seed)) + us(0x28, 2, 1) + element(0x28, 4, "CS", "MONOCHROME2") +
         us(0x28, 0x10, i.rows) + us(0x28, 0x11, i.columns) + us(0x28, 0x100, 16) + us(0x28, 0x101, 12) + us(0x28, 0x102, 11) + us(0x28, 0x103, 0) +
         element(0x7fe0, 0x10, "OW", pixels);
}

void write_instance(const fs::path& path, const TestInstance& instance) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << meta_header(instance) << data_set_bytes(instance);
}

void PacsTest::SetUp() {
  std::string pattern = (fs::path(testing::TempDir()) / "postrec_pacs_XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  folder_ = pattern;
}

void PacsTest::TearDown() {
  EXPECT_EQ(said_.find(kCanary), std::string::npos) << said_;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    const std::string name = fs::relative(entry.path(), folder_).string();
    if (name.rfind("sent_", 0) == 0 && name.find(".jsonl") == std::string::npos) continue;  // what the test itself has written
    EXPECT_EQ(name.find(kCanary), std::string::npos);
    const bool ours = entry.is_regular_file() && entry.path().extension() != ".dcm" && name.rfind("archive/", 0) != 0;
    EXPECT_TRUE(!ours || content_of(entry.path()).find(kCanary) == std::string::npos) << name;
  }
  fs::remove_all(folder_);
}

void PacsTest::write_study(const std::string& folder, int n, int rows) const {
  for (int i = 0; i < n; ++i) {
    TestInstance instance;
    instance.series = i % 2 ? "1.2.3.1" : "1.2.3.2";
    instance.instance = instance.series + "." + std::to_string(i + 1);
    instance.seed = i;
    instance.rows = rows;
    instance.columns = 256;
    write_instance(folder_ / folder / (std::string(kCanary) + std::to_string(i % 3)) / ("IM" + std::to_string(i)), instance);
  }
}

void PacsTest::write_text(const std::string& name, const std::string& text) const { std::ofstream(path(name), std::ios::binary) << text; }

void PacsTest::expect_error(const Ended& ended, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(ended.code, code) << ended.err;
  EXPECT_EQ(ended.error_lines(), 1) << ended.err;
  for (const auto& word : words) EXPECT_NE(ended.err.find(word), std::string::npos) << "'" << word << "' is missing in: " << ended.err;
}

Ended PacsTest::run(const std::vector<std::string>& arguments) {
  Ended ended = run_postrec(arguments);
  remember(ended.out + ended.err);
  return ended;
}

Ended PacsTest::send(const std::string& folder, const std::string& peer, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"pacs", "send", path(folder), "--peer", peer};
  for (const auto& [option, value] : {std::pair("--aet", "RECON"), std::pair("--timeout", "5")})
    if (std::find(more.begin(), more.end(), option) == more.end()) arguments.insert(arguments.end(), {option, value});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run(arguments);
}

std::vector<std::string> PacsTest::listen_command(const std::string& inbox, int port, const std::vector<std::string>& more) const {
  std::vector<std::string> command = {POSTREC_PROGRAM, "pacs", "listen", "--output", path(inbox), "--aet", "INBOX", "--port", std::to_string(port)};
  if (std::find(more.begin(), more.end(), "--stable-age") == more.end()) command.insert(command.end(), {"--stable-age", "0.5"});
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

int PacsTest::port_of(const Background& listener) {
  if (!listener.wait_for(" as INBOX")) return 0;
  const std::string text = listener.output();
  return std::stoi(text.substr(text.find("127.0.0.1:") + 10));
}

std::multiset<std::string> PacsTest::data_sets(const fs::path& folder) {
  std::multiset<std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const std::string bytes = content_of(entry.path());
    if (bytes.size() < 144 || bytes.compare(128, 4, "DICM") != 0) continue;
    std::uint32_t meta = 0;
    std::memcpy(&meta, bytes.data() + 140, sizeof meta);
    all.insert(bytes.substr(144 + meta));
  }
  return all;
}

std::size_t PacsTest::count_instances(const fs::path& folder) {
  std::size_t n = 0;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) n += entry.path().extension() == ".dcm";
  return n;
}

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  bind(socket, reinterpret_cast<sockaddr*>(&address), length);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
  close(socket);
  return ntohs(address.sin_port);
}

std::string http_get(int port, const std::string& target) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback(port);
  std::string answer;
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = "GET " + target + " HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    if (write(socket, request.data(), request.size()) > 0) {
      char buffer[4096];
      for (ssize_t n; (n = read(socket, buffer, sizeof buffer)) > 0;) answer.append(buffer, static_cast<std::size_t>(n));
    }
  }
  close(socket);
  const auto body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

}  // namespace postrec
