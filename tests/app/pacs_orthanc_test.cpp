// postrec pacs against a real archive, Orthanc, in a network namespace of its own (Orthanc listens on every interface). Skipped by name without it.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <thread>

#include "pacs_fixture.hpp"
#include "small_disk.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

constexpr int kHttpPort = 18042;
constexpr const char* kArchive = "ORTHANC@127.0.0.1:14242";

/// From here on this process and its children are alone on a loopback interface. False when the system does not allow it.
bool enter_own_network() {
  static const bool done = [] {
    if (unshare(CLONE_NEWNET) != 0) return false;
    ifreq request{};
    std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
    const bool up = ioctl(socket, SIOCSIFFLAGS, &request) == 0;
    close(socket);
    return up;
  }();
  return done;
}

bool has_program(const std::string& name) { return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0; }

class OrthancTest : public PacsTest {
 protected:
  void SetUp() override {
    PacsTest::SetUp();
    if (!has_program("Orthanc")) GTEST_SKIP() << "Orthanc is not installed";
    if (!has_program("openssl")) GTEST_SKIP() << "openssl is not installed";
    if (!enter_own_network()) GTEST_SKIP() << "no network namespace of its own (needs root)";
    fs::create_directories(folder_ / "archive" / "db");
  }

  void start(const nlohmann::json& more = nlohmann::json::object()) {
    nlohmann::json settings = {{"Name", "test"}, {"StorageDirectory", path("archive/db")}, {"IndexDirectory", path("archive/db")}, {"Plugins", nlohmann::json::array()},
                               {"HttpPort", kHttpPort}, {"RemoteAccessAllowed", false}, {"AuthenticationEnabled", false}, {"DicomAet", "ORTHANC"}, {"DicomPort", 14242},
                               {"DicomCheckCalledAet", true}, {"DicomAlwaysAllowStore", true}, {"OverwriteInstances", false}, {"StableAge", 1}, {"DicomScpTimeout", 5},
                               {"DicomThreadsCount", 2}};
    settings["DicomModalities"] = {{"recon", {{"AET", "RECON"}, {"Host", "127.0.0.1"}, {"Port", 11113}, {"AllowEcho", true}, {"AllowFind", true}, {"AllowGet", true}, {"AllowStore", true}}}};
    settings.update(more);
    std::ofstream(path("archive/orthanc.json")) << settings.dump();
    archive_ = std::make_unique<Background>(std::vector<std::string>{"Orthanc", path("archive/orthanc.json")}, path("archive/log"));
    for (int i = 0; i < 1500 && http_get(kHttpPort, "/system").empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_NE(http_get(kHttpPort, "/system"), "") << archive_->output();
  }

  void stop(int signal) {
    archive_->stop(signal);
    archive_.reset();
  }

  static int archived() {
    const std::string answer = http_get(kHttpPort, "/statistics");
    return answer.empty() ? -1 : nlohmann::json::parse(answer)["CountInstances"].get<int>();
  }

  Ended get(const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"pacs", "get", "--peer", kArchive, "--aet", "RECON", "--timeout", "5", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  /// A key and a certificate signed by `authority` (made when it is not there), as NAME.key, NAME.pem, AUTHORITY.pem.
  void make_certificate(const std::string& name, const std::string& authority) const {
    const std::string in = "cd " + path("archive") + " && ", quiet = " >/dev/null 2>&1";
    if (!fs::exists(path("archive/" + authority + ".pem"))) {
      ASSERT_EQ(std::system((in + "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=" + authority + " -keyout " + authority + ".key -out " + authority + ".pem" + quiet).c_str()), 0);
    }
    ASSERT_EQ(std::system((in + "openssl req -newkey rsa:2048 -nodes -subj /CN=" + name + " -keyout " + name + ".key -out " + name + ".csr" + quiet).c_str()), 0);
    ASSERT_EQ(std::system((in + "openssl x509 -req -days 2 -in " + name + ".csr -CA " + authority + ".pem -CAkey " + authority + ".key -CAcreateserial -out " + name + ".pem" + quiet).c_str()), 0);
  }

  std::vector<std::string> tls(const std::string& name, const std::string& authority) const {
    return {"--tls-key", path("archive/" + name + ".key"), "--tls-cert", path("archive/" + name + ".pem"), "--tls-ca", path("archive/" + authority + ".pem"), "--retries", "0"};
  }

  std::string fingerprint(const std::string& name) const {
    std::system(("openssl x509 -noout -fingerprint -sha256 -in " + path("archive/" + name + ".pem") + " > " + path("archive/fingerprint")).c_str());
    std::ifstream file(path("archive/fingerprint"));
    std::string line;
    std::getline(file, line);
    return line.substr(line.find('=') + 1);
  }

  std::unique_ptr<Background> archive_;
};

TEST_F(OrthancTest, SendsOnceVerifiesAndFetchesTheSame) {
  start();
  write_study("sent_study", 9);
  const Ended first = send("sent_study", kArchive, {"--verify"});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, "9 of 9 instances sent, 0 were sent before; the archive lists them all\n");
  EXPECT_EQ(archived(), 9);
  EXPECT_EQ(send("sent_study", kArchive).out, "0 of 9 instances sent, 9 were sent before\n");
  EXPECT_EQ(send("sent_study", kArchive, {"--ledger", path("other.jsonl")}).code, 0);
  EXPECT_EQ(archived(), 9) << "sending again adds nothing";

  const Ended whole = get("whole", {"--study", "1.2.3"});
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(whole.out, "9 instances of 2 series, 9 fetched now\n");
  EXPECT_EQ(data_sets(path("whole")), data_sets(path("sent_study")));
  EXPECT_FALSE(fs::exists(path("whole/.incoming")));
  EXPECT_FALSE(fs::exists(path("whole.partial")));

  EXPECT_EQ(get("one", {"--study", "1.2.3", "--series", "1.2.3.1"}).out, "4 instances of 1 series, 4 fetched now\n");
  write_text("query.dcm", "# patient data stay off the command line\naccession = ZZCANARY-A1\n");
  EXPECT_EQ(get("by_number", {"--query", path("query.dcm")}).out, "9 instances of 2 series, 9 fetched now\n");
  expect_error(get("none", {"--study", "1.2.99"}), 66, {"nothing that matches"});
  expect_error(get("whole", {"--study", "1.2.3"}), 73, {"exists"});
}

// No room here is not the archive's failure: said as such, what has a name is whole, and --resume fetches the rest.
TEST_F(OrthancTest, GetOnAFullDisk) {
  if (!SmallDisk::permitted()) GTEST_SKIP() << "this user may not mount a small file system";
  start();
  write_study("sent_study", 6);
  ASSERT_EQ(send("sent_study", kArchive).code, 0);
  const auto sent = data_sets(path("sent_study"));
  SmallDisk disk(folder_ / "disk");
  disk.make(8);                                // two instances of three pages each, and not a third
  expect_error(get("disk/case", {"--study", "1.2.3"}), 74, {"case.partial'", "the disk is full"});
  EXPECT_FALSE(fs::exists(path("disk/case")));
  const auto kept = data_sets(path("disk/case.partial"));
  EXPECT_EQ(kept.size(), 2u);
  EXPECT_TRUE(std::includes(sent.begin(), sent.end(), kept.begin(), kept.end()));
  disk.resize(4096);
  EXPECT_EQ(get("disk/case", {"--study", "1.2.3", "--resume"}).out, "6 instances of 2 series, 4 fetched now\n");
  EXPECT_EQ(data_sets(path("disk/case")), sent);
}

TEST_F(OrthancTest, ResumeFetchesTheMissingOnly) {
  start();
  write_study("sent_study", 8);
  ASSERT_EQ(send("sent_study", kArchive).code, 0);
  ASSERT_EQ(get("case", {"--study", "1.2.3"}).code, 0);
  // As an interrupted call would leave it: two of one series, one of the other are missing.
  fs::rename(path("case"), path("case.partial"));
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path("case.partial")))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const std::size_t i : {0u, 2u, 7u}) fs::remove(files[i]);

  expect_error(get("case", {"--study", "1.2.3"}), 73, {"--resume"});
  expect_error(get("case", {"--study", "1.2.3", "--series", "1.2.3.1", "--resume"}), 73, {"another query"});
  const Ended resumed = get("case", {"--study", "1.2.3", "--resume"});
  EXPECT_EQ(resumed.out, "8 instances of 2 series, 3 fetched now\n") << resumed.err;
  EXPECT_EQ(data_sets(path("case")), data_sets(path("sent_study")));
}

TEST_F(OrthancTest, AnInstanceThatTheArchiveLostIsAnErrorAndNoFolder) {
  start();
  write_study("sent_study", 4);
  ASSERT_EQ(send("sent_study", kArchive).code, 0);
  // The archive lists an instance whose file is gone.
  for (const auto& entry : fs::recursive_directory_iterator(path("archive/db")))
    if (entry.is_regular_file() && entry.path().extension() == "" && entry.file_size() > 4096) {
      fs::remove(entry.path());
      break;
    }
  stop(SIGTERM);
  start();  // it has a cache
  const Ended ended = get("case", {"--study", "1.2.3", "--retries", "1", "--retry-delay", "0.1"});
  EXPECT_EQ(ended.code, 76) << ended.err;
  EXPECT_FALSE(fs::exists(path("case")));
  // The archive ends its answer at the lost one, so what came before it is there, and the message tells how many.
  const std::size_t n = count_instances(path("case.partial"));
  EXPECT_LT(n, 4u);
  EXPECT_NE(ended.err.find(std::to_string(n) + " of 4 instances arrived"), std::string::npos) << ended.err;
}

TEST_F(OrthancTest, KilledInMidTransferAndSentAgainItHoldsEachOnce) {
  constexpr int kInstances = 120;
  start();
  write_study("sent_study", kInstances, 256);
  Background sender({POSTREC_PROGRAM, "pacs", "send", path("sent_study"), "--peer", kArchive, "--aet", "RECON", "--timeout", "5", "--retries", "100", "--retry-delay", "0.2",
                     "--retry-delay-max", "0.4"},
                    path("send.log"));
  while (archived() < 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stop(SIGKILL);
  EXPECT_TRUE(sender.wait_for("trying again")) << sender.output();
  start();
  const int survived = archived();
  EXPECT_GE(survived, 9);
  EXPECT_LT(survived, kInstances) << "it was to die half-way";
  EXPECT_EQ(sender.wait(), 0) << sender.output();
  EXPECT_EQ(archived(), kInstances);
  remember(sender.output());

  // And the other way round: killed while we fetch.
  Background getter({POSTREC_PROGRAM, "pacs", "get", "--peer", kArchive, "--aet", "RECON", "--timeout", "5", "--retries", "100", "--retry-delay", "0.2", "--retry-delay-max", "0.4",
                     "--study", "1.2.3", "--output", path("case")},
                    path("get.log"));
  while (count_instances(path("case.partial")) < 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stop(SIGKILL);
  EXPECT_TRUE(getter.wait_for("trying again")) << getter.output();
  start();
  EXPECT_EQ(getter.wait(), 0) << getter.output();
  EXPECT_EQ(count_instances(path("case")), static_cast<std::size_t>(kInstances));
  EXPECT_EQ(data_sets(path("case")), data_sets(path("sent_study")));
}

TEST_F(OrthancTest, WhatItRefusesIsAnError) {
  start();
  write_study("sent_study", 2);
  expect_error(send("sent_study", "OTHER@127.0.0.1:14242"), 76, {"title that it was called by"});
  ASSERT_EQ(send("sent_study", kArchive).code, 0);
  // Known to nobody: Orthanc takes what it is sent, but does not answer queries.
  const Ended stranger = run({"pacs", "get", "--peer", kArchive, "--aet", "STRANGER", "--output", path("case"), "--study", "1.2.3", "--retries", "1", "--retry-delay", "0.1"});
  EXPECT_EQ(stranger.code, 76) << stranger.err;
  EXPECT_FALSE(fs::exists(path("case")));
}

TEST_F(OrthancTest, TlsNeedsTrustOnBothSides) {
  make_certificate("server", "ca");
  make_certificate("recon", "ca");
  make_certificate("stranger", "other-ca");
  start({{"DicomTlsEnabled", true}, {"DicomTlsCertificate", path("archive/server.pem")}, {"DicomTlsPrivateKey", path("archive/server.key")},
         {"DicomTlsTrustedCertificates", path("archive/ca.pem")}, {"DicomTlsRemoteCertificateRequired", true}});
  write_study("sent_study", 3);
  const auto with = [&](std::vector<std::string> options, const std::vector<std::string>& more = {}) {
    options.insert(options.end(), more.begin(), more.end());
    return send("sent_study", kArchive, options);
  };
  EXPECT_EQ(with({"--retries", "0"}).code, 76) << "without TLS";
  EXPECT_EQ(with({"--tls-ca", path("archive/ca.pem"), "--retries", "0"}).code, 76) << "without a certificate of ours";
  EXPECT_EQ(with(tls("stranger", "ca")).code, 76) << "with a certificate that it does not trust";
  const Ended untrusted = with(tls("recon", "other-ca"));
  expect_error(untrusted, 76, {"no TLS"});
  expect_error(with(tls("recon", "ca"), {"--tls-peer-fingerprint", fingerprint("recon")}), 76, {"another certificate than the pinned one"});
  EXPECT_EQ(archived(), 0);

  EXPECT_EQ(with(tls("recon", "ca"), {"--tls-peer-fingerprint", fingerprint("server")}).code, 0);
  EXPECT_EQ(archived(), 3);
  auto options = tls("recon", "ca");
  options.insert(options.end(), {"--study", "1.2.3"});
  EXPECT_EQ(get("case", options).out, "3 instances of 2 series, 3 fetched now\n");
}

TEST_F(OrthancTest, OurListenerSpeaksTlsToo) {
  make_certificate("server", "ca");
  make_certificate("recon", "ca");
  make_certificate("stranger", "other-ca");
  write_study("sent_study", 3);
  auto options = tls("server", "ca");
  options.resize(6);
  options.insert(options.end(), {"--tls-peer-fingerprint", fingerprint("recon")});
  Background listener(listen_command("inbox", 0, options), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  const std::string peer = "INBOX@127.0.0.1:" + std::to_string(port);
  EXPECT_EQ(send("sent_study", peer, {"--retries", "0"}).code, 76);
  EXPECT_EQ(send("sent_study", peer, {"--tls-ca", path("archive/ca.pem"), "--retries", "0"}).code, 76);
  EXPECT_EQ(send("sent_study", peer, tls("stranger", "ca")).code, 76);
  EXPECT_EQ(send("sent_study", peer, tls("recon", "other-ca")).code, 76);
  EXPECT_EQ(send("sent_study", peer, tls("server", "ca")).code, 76) << "trusted, but not the pinned one";
  EXPECT_EQ(count_instances(path("inbox")), 0u);
  EXPECT_EQ(send("sent_study", peer, tls("recon", "ca")).code, 0);
  EXPECT_EQ(count_instances(path("inbox")), 3u);
  EXPECT_EQ(listener.stop(SIGTERM), 0);
}

// openssl s_client ends with 0 when the handshake was done.
TEST_F(OrthancTest, OurListenerRefusesOldTls) {
  make_certificate("server", "ca");
  make_certificate("recon", "ca");
  auto options = tls("server", "ca");
  options.resize(6);
  Background listener(listen_command("inbox", 0, options), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  const auto handshake = [&](const std::string& version) {
    return std::system(("openssl s_client -connect 127.0.0.1:" + std::to_string(port) + " -" + version + " -cipher 'ALL@SECLEVEL=0' -cert " + path("archive/recon.pem") + " -key " +
                        path("archive/recon.key") + " </dev/null >/dev/null 2>&1")
                           .c_str());
  };
  EXPECT_EQ(handshake("tls1_2"), 0);
  EXPECT_NE(handshake("tls1_1"), 0);
  EXPECT_NE(handshake("tls1"), 0);
  EXPECT_EQ(listener.stop(SIGTERM), 0);
}

}  // namespace
}  // namespace postrec
