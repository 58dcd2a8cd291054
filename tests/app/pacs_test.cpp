// postrec pacs against our own listener: what is sent arrives whole and once, whatever dies in between, and nothing of a patient is told.
#include "pacs_fixture.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

namespace postrec {
namespace fs = std::filesystem;
namespace {

std::string inbox_peer(int port) { return "INBOX@127.0.0.1:" + std::to_string(port); }

TEST_F(PacsTest, WhatIsSentArrivesWholeAndOnce) {
  write_study("sent_study", 7);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();

  const Ended first = send("sent_study", inbox_peer(port));
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, "7 of 7 instances sent, 0 were sent before\n");
  EXPECT_EQ(data_sets(path("inbox")), data_sets(path("sent_study")));
  EXPECT_EQ(count_instances(path("inbox")), 7u);

  const Ended second = send("sent_study", inbox_peer(port), {"--log-format", "json"});
  EXPECT_EQ(nlohmann::json::parse(second.out), nlohmann::json({{"instances", 7}, {"sent", 0}, {"sent_before", 7}, {"warnings", 0}, {"verified", false}}));
  // Without the ledger everything is sent again, and nothing is there twice.
  const Ended again = send("sent_study", inbox_peer(port), {"--ledger", path("other.jsonl")});
  EXPECT_EQ(again.out, "7 of 7 instances sent, 0 were sent before\n");
  EXPECT_EQ(count_instances(path("inbox")), 7u);

  EXPECT_EQ(listener.stop(SIGTERM), 0) << listener.output();
}

TEST_F(PacsTest, ASeriesIsCompleteWhenItStoppedGrowing) {
  write_study("sent_study", 6);
  TestInstance late;
  late.series = "1.2.3.1";
  late.instance = "1.2.3.1.77";
  write_instance(folder_ / "sent_late" / "one", late);
  const auto markers = [&] {
    std::multiset<int> counts;
    for (const auto& entry : fs::directory_iterator(path("inbox")))
      if (std::ifstream marker(entry.path() / "complete"); marker) counts.insert(nlohmann::json::parse(marker)["instances"].get<int>());
    return counts;
  };
  {
    Background listener(listen_command("inbox", 0), path("listen.log"));
    const int port = port_of(listener);
    ASSERT_NE(port, 0) << listener.output();
    ASSERT_EQ(send("sent_study", inbox_peer(port)).code, 0);
    for (int i = 0; i < 500 && markers().size() < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(markers(), (std::multiset<int>{3, 3}));
    EXPECT_EQ(listener.stop(SIGTERM), 0);
  }
  {
    // This one would wait for ever, so that what is seen is not a matter of time.
    Background listener(listen_command("inbox", 0, {"--stable-age", "100000"}), path("patient.log"));
    const int port = port_of(listener);
    ASSERT_NE(port, 0) << listener.output();
    ASSERT_EQ(send("sent_study", inbox_peer(port), {"--ledger", path("other.jsonl")}).code, 0);
    EXPECT_EQ(markers(), (std::multiset<int>{3, 3})) << "nothing new came";
    ASSERT_EQ(send("sent_late", inbox_peer(port)).code, 0);
    EXPECT_EQ(markers(), (std::multiset<int>{3})) << "one series has grown";
    EXPECT_EQ(listener.stop(SIGTERM), 0);
  }
  Background listener(listen_command("inbox", 0), path("listen2.log"));
  EXPECT_TRUE(listener.wait_for("is complete: 4 instances")) << "what the one before left";
  EXPECT_EQ(markers(), (std::multiset<int>{3, 4}));
}

// A kill between the name of an instance and the end of the marker leaves one that lists too few.
TEST_F(PacsTest, AnOutdatedMarkerIsRenewed) {
  const std::string series = "00112233445566aa";
  TestInstance instance;
  for (const char* name : {"one", "two"}) {
    instance.instance = std::string("1.2.3.1.") + (name[0] == 'o' ? "1" : "2");
    write_instance(folder_ / "inbox" / series / (std::string(name) + ".dcm"), instance);
  }
  write_text("inbox/" + series + "/complete", "{\"format\":\"postrec-series/1\",\"instances\":1,\"sha256_of_names\":\"00\"}\n");
  Background listener(listen_command("inbox", 0), path("listen.log"));
  EXPECT_TRUE(listener.wait_for("is complete: 2 instances"));
  std::ifstream marker(folder_ / "inbox" / series / "complete");
  EXPECT_EQ(nlohmann::json::parse(marker)["instances"], 2);
  EXPECT_EQ(listener.stop(SIGTERM), 0);
}

TEST_F(PacsTest, AListenerKilledInMidTransferLosesAndDoublesNothing) {
  constexpr int kInstances = 60;
  write_study("sent_study", kInstances, 1024);  // 0.5 MB each
  const int port = free_port();
  Background first(listen_command("inbox", port), path("listen.log"));
  ASSERT_EQ(port_of(first), port) << first.output();
  Background sender({POSTREC_PROGRAM, "pacs", "send", path("sent_study"), "--peer", inbox_peer(port), "--timeout", "5", "--retries", "50", "--retry-delay", "0.1", "--retry-delay-max",
                     "0.3"},
                    path("send.log"));
  while (count_instances(path("inbox")) < 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  first.stop(SIGKILL);
  const std::size_t survived = count_instances(path("inbox"));
  EXPECT_LT(survived, static_cast<std::size_t>(kInstances)) << "the listener was to die half-way";
  EXPECT_TRUE(sender.wait_for("trying again"));

  Background second(listen_command("inbox", port), path("listen2.log"));
  EXPECT_EQ(sender.wait(), 0) << sender.output();
  EXPECT_EQ(count_instances(path("inbox")), static_cast<std::size_t>(kInstances));
  EXPECT_EQ(data_sets(path("inbox")), data_sets(path("sent_study")));
  EXPECT_EQ(second.stop(SIGTERM), 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "inbox" / ".incoming"), fs::directory_iterator()), 1) << "only the lock";
}

TEST_F(PacsTest, ASenderKilledInMidTransferGoesOnWhereItWas) {
  constexpr int kInstances = 60;
  write_study("sent_study", kInstances, 1024);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  Background sender({POSTREC_PROGRAM, "pacs", "send", path("sent_study"), "--peer", inbox_peer(port)}, path("send.log"));
  while (count_instances(path("inbox")) < 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(sender.stop(SIGKILL), 128 + SIGKILL);

  // A crash can also cut the last line of the ledger.
  std::ofstream(path("sent_study.sent.jsonl"), std::ios::app) << "{\"peer\":\"INB";
  const Ended rest = send("sent_study", inbox_peer(port), {"--log-format", "json"});
  ASSERT_EQ(rest.code, 0) << rest.err;
  const auto result = nlohmann::json::parse(rest.out);
  EXPECT_GE(result["sent_before"].get<int>(), 4);
  EXPECT_EQ(result["sent"].get<int>() + result["sent_before"].get<int>(), kInstances);
  EXPECT_EQ(data_sets(path("inbox")), data_sets(path("sent_study")));
  EXPECT_EQ(count_instances(path("inbox")), static_cast<std::size_t>(kInstances));
  EXPECT_EQ(send("sent_study", inbox_peer(port)).out, "0 of 60 instances sent, 60 were sent before\n") << "the repaired ledger is read";
}

TEST_F(PacsTest, AnInterruptedSenderStopsCleanly) {
  write_study("sent_study", 40, 1024);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  Background sender({POSTREC_PROGRAM, "pacs", "send", path("sent_study"), "--peer", inbox_peer(port)}, path("send.log"));
  while (count_instances(path("inbox")) < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(sender.stop(SIGTERM), 143) << sender.output();
}

/// A peer that accepts connections and says nothing.
class Silence {
 public:
  Silence() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    bind(socket_, reinterpret_cast<sockaddr*>(&address), length);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length);
    ::listen(socket_, 4);
    port_ = ntohs(address.sin_port);
  }
  ~Silence() { close(socket_); }
  int port() const { return port_; }

 private:
  int socket_, port_ = 0;
};

TEST_F(PacsTest, ASilentPeerIsGivenUp) {
  write_study("sent_study", 1);
  const Silence silence;
  const auto start = std::chrono::steady_clock::now();
  const Ended ended = send("sent_study", inbox_peer(silence.port()), {"--timeout", "1", "--retries", "1", "--retry-delay", "0.1"});
  EXPECT_EQ(ended.code, 76) << ended.err;
  EXPECT_NE(ended.err.find("did not answer within 1 s"), std::string::npos) << ended.err;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(15)) << "two tries of a second each, on a busy machine";
}

TEST_F(PacsTest, AFrozenListenerIsGivenUpAndResumedLater) {
  write_study("sent_study", 3);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  // Stopped before it can accept: the kernel completes the connection, nobody answers.
  listener.signal(SIGSTOP);
  EXPECT_EQ(send("sent_study", inbox_peer(port), {"--timeout", "1", "--retries", "0"}).code, 76);
  listener.signal(SIGCONT);
  EXPECT_EQ(send("sent_study", inbox_peer(port)).code, 0);
  EXPECT_EQ(count_instances(path("inbox")), 3u);
}

TEST_F(PacsTest, NobodyThereIsTriedAgainAndThenAnError) {
  write_study("sent_study", 1);
  const Ended ended = send("sent_study", inbox_peer(free_port()), {"--retries", "2", "--retry-delay", "0.05"});
  EXPECT_EQ(ended.code, 76) << ended.err;
  EXPECT_EQ(ended.error_lines(), 3) << "two announcements and the error: " << ended.err;
  EXPECT_NE(ended.err.find("tried 3 times"), std::string::npos) << ended.err;
}

TEST_F(PacsTest, TitlesAreChecked) {
  write_study("sent_study", 1);
  Background listener(listen_command("inbox", 0, {"--allow-aet", "RECON"}), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  // Refusals that time does not mend are not tried again, so these end at once.
  const Ended called = send("sent_study", "OTHER@127.0.0.1:" + std::to_string(port));
  expect_error(called, 76, {"title that it was called by"});
  expect_error(send("sent_study", inbox_peer(port), {"--aet", "STRANGER"}), 76, {"does not know our title"});
  EXPECT_EQ(count_instances(path("inbox")), 0u);
  EXPECT_EQ(send("sent_study", inbox_peer(port)).code, 0);
}

TEST_F(PacsTest, TooManyCallersAreToldToComeBack) {
  write_study("sent_study", 1);
  Background listener(listen_command("inbox", 0, {"--max-associations", "1"}), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  // A caller that connects and says nothing holds the only place.
  const int holder = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ASSERT_EQ(connect(holder, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  expect_error(send("sent_study", inbox_peer(port), {"--retries", "0"}), 76, {"is busy"});
  close(holder);
  EXPECT_EQ(send("sent_study", inbox_peer(port), {"--retry-delay", "0.2"}).code, 0);
}

TEST_F(PacsTest, TwoSendersDoNotShareALedgerNorTwoListenersAFolder) {
  write_study("sent_study", 1);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  const int ledger = open(path("sent_study.sent.jsonl").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(flock(ledger, LOCK_EX), 0);  // as another sender would
  expect_error(send("sent_study", inbox_peer(port)), 75, {"is in use"});
  close(ledger);
  EXPECT_EQ(send("sent_study", inbox_peer(port)).code, 0);
  Background second(listen_command("inbox", 0), path("listen2.log"));
  EXPECT_EQ(second.wait(), 75);
  EXPECT_NE(second.output().find("another process listens"), std::string::npos);
}

TEST_F(PacsTest, NothingIsSentOfAFolderThatCannotBeRight) {
  write_study("sent_study", 4);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  TestInstance twin;
  twin.instance = "1.2.3.1.2";  // is in the study with other pixels
  twin.seed = 99;
  write_instance(folder_ / "sent_study" / "zz", twin);
  expect_error(send("sent_study", inbox_peer(port)), 65, {"numbers 5 in the order of names", "with another content"});
  fs::resize_file(folder_ / "sent_study" / "zz", fs::file_size(folder_ / "sent_study" / "zz") - 40);
  expect_error(send("sent_study", inbox_peer(port)), 65, {"1 DICOM file(s)", "numbers 5"});
  fs::create_directory(folder_ / "sent_empty");
  expect_error(send("sent_empty", inbox_peer(port)), 66, {"no DICOM file"});
  EXPECT_EQ(count_instances(path("inbox")), 0u);
}

TEST_F(PacsTest, AnotherContentUnderAKnownUidIsRefused) {
  TestInstance instance;
  instance.instance = "1.2.3.1.1";
  write_instance(folder_ / "sent_a" / "one", instance);
  instance.seed = 5;
  write_instance(folder_ / "sent_b" / "one", instance);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  EXPECT_EQ(send("sent_a", inbox_peer(port)).code, 0);
  expect_error(send("sent_b", inbox_peer(port)), 76, {"refused 1 of 1", "0xC003"});
  EXPECT_EQ(data_sets(path("inbox")), data_sets(path("sent_a")));
}

// As a run that is done again makes it.
TEST_F(PacsTest, ACopyThatWasMadeAtAnotherTimeIsKnown) {
  TestInstance instance;
  instance.instance = "1.2.3.1.1";
  instance.content_time = "101112";
  write_instance(folder_ / "sent_a" / "one", instance);
  instance.content_time = "101113";
  write_instance(folder_ / "sent_b" / "one", instance);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  EXPECT_EQ(send("sent_a", inbox_peer(port)).code, 0);
  EXPECT_EQ(send("sent_b", inbox_peer(port)).code, 0);
  EXPECT_EQ(data_sets(path("inbox")), data_sets(path("sent_a"))) << "the first one stays";
}

// Exported twice: the files differ in their preamble and in who wrote them, and in nothing that is sent.
TEST_F(PacsTest, ACopyWithAnotherMetaHeaderIsSentOnce) {
  TestInstance instance;
  instance.instance = "1.2.3.1.1";
  write_instance(folder_ / "sent_a" / "one", instance);
  std::ifstream file(path("sent_a/one"), std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  bytes.replace(0, 2, "II");
  bytes.replace(bytes.find("1.2.3.999"), 9, "1.2.3.998");
  write_text("sent_a/two", bytes);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  const Ended ended = send("sent_a", inbox_peer(port));
  EXPECT_EQ(ended.out, "1 of 1 instances sent, 0 were sent before\n") << ended.err;
}

// The listener ends the association on each of two instances, as an archive does that stumbles over them: the others arrive, and these two are named.
TEST_F(PacsTest, InstancesOnWhichTheConnectionIsLostDoNotHoldUpTheOthers) {
  TestInstance instance;
  instance.columns = 512;
  for (int i = 1; i <= 4; ++i) {
    instance.instance = "1.2.3.1." + std::to_string(i);
    instance.rows = i <= 2 ? 2100 : 16;  // above what --max-instance-mb and commands allow
    write_instance(folder_ / "sent_a" / std::to_string(i), instance);
  }
  Background listener(listen_command("inbox", 0, {"--max-instance-mb", "1"}), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  const Ended ended = send("sent_a", inbox_peer(port), {"--retry-delay", "0.05", "--retry-delay-max", "0.1"});
  EXPECT_EQ(ended.code, 76) << ended.err;
  for (const char* words : {"at file number 1 in the order of names; trying again", "refused 2 of 4 instances (the connection was lost on it): numbers 1, 2 in the order of names"})
    EXPECT_NE(ended.err.find(words), std::string::npos) << "'" << words << "' is missing in: " << ended.err;
  EXPECT_EQ(count_instances(path("inbox")), 2u);
  // Without a second try nothing is known of the others.
  expect_error(send("sent_a", inbox_peer(port), {"--retries", "0"}), 76, {"at file number 1 in the order of names"});
}

// More of them side by side than there are tries, as a series of a kind that the archive cannot bear.
TEST_F(PacsTest, ARowOfInstancesOnWhichTheConnectionIsLostDoesNotUseUpTheTries) {
  TestInstance instance;
  instance.columns = 512;
  for (int i = 10; i < 22; ++i) {
    instance.instance = "1.2.3.1." + std::to_string(i);
    instance.rows = i < 16 ? 2100 : 16;
    write_instance(folder_ / "sent_a" / std::to_string(i), instance);
  }
  Background listener(listen_command("inbox", 0, {"--max-instance-mb", "1"}), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  const Ended ended = send("sent_a", inbox_peer(port), {"--retry-delay", "0.05", "--retry-delay-max", "0.1"});
  EXPECT_EQ(ended.code, 76);
  EXPECT_NE(ended.err.find("refused 6 of 12 instances"), std::string::npos) << ended.err;
  EXPECT_EQ(count_instances(path("inbox")), 6u);
}

TEST_F(PacsTest, AnInstanceThatIsTooLargeIsNotTaken) {
  TestInstance instance;
  instance.instance = "1.2.3.1.1";
  instance.rows = 2100;
  instance.columns = 512;  // 2.15 MB: above 1 MiB and what commands may add
  write_instance(folder_ / "sent_a" / "one", instance);
  Background listener(listen_command("inbox", 0, {"--max-instance-mb", "1"}), path("listen.log"));
  const int port = port_of(listener);
  ASSERT_NE(port, 0) << listener.output();
  EXPECT_EQ(send("sent_a", inbox_peer(port), {"--retries", "0"}).code, 76);
  EXPECT_EQ(count_instances(path("inbox")), 0u);
  EXPECT_TRUE(listener.wait_for("an instance is larger than --max-instance-mb")) << listener.output();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "inbox" / ".incoming"), fs::directory_iterator()), 1) << "only the lock";
}

TEST_F(PacsTest, OptionsAreCheckedBeforeAnythingIsSent) {
  write_study("sent_study", 1);
  expect_error(run({"pacs"}), 64, {"send, get or listen"});
  expect_error(run({"pacs", "sned"}), 64, {"send"});
  expect_error(run({"pacs", "send", path("sent_study")}), 64, {"--peer is missing"});
  expect_error(send("sent_study", "INBOX@host"), 64, {"TITLE@HOST:PORT"});
  expect_error(send("sent_study", "A@h:1", {"--tls-key", "x"}), 64, {"belong together"});
  expect_error(send("sent_study", "A@h:1", {"--tls-ca", path("missing.pem")}), 66, {});
  expect_error(run({"pacs", "get", "--peer", "A@h:1", "--output", path("out")}), 64, {"nothing is asked for"});
  expect_error(run({"pacs", "get", "--peer", "A@h:1", "--output", path("out"), "--study", "../ZZCANARY"}), 64, {"not a UID"});
  write_text("query", "accession = ZZCANARY*\n");
  expect_error(run({"pacs", "get", "--peer", "A@h:1", "--output", path("out"), "--query", path("query")}), 64, {"accession"});
  write_text("query", "patient = ZZCANARY\n");
  expect_error(run({"pacs", "get", "--peer", "A@h:1", "--output", path("out"), "--query", path("query")}), 65, {"line 1"});
  fs::remove(path("query"));
}

}  // namespace
}  // namespace postrec
