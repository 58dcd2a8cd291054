#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "app_fixture.hpp"

namespace postrec {

/// A program that runs while the test goes on, its output in a file. Killed when it goes out of scope.
class Background {
 public:
  Background(const std::vector<std::string>& command, std::filesystem::path output);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  std::string output() const;
  /// Waits until the output holds `text`; false after `seconds`.
  bool wait_for(const std::string& text, double seconds = 20) const;
  void signal(int signal) const;
  /// Sends a signal and waits for the end; returns the exit code, or 128 + signal.
  int stop(int signal);
  /// Waits for the end.
  int wait();

 private:
  std::filesystem::path output_;
  int pid_ = -1;
};

/// One DICOM instance of `pixels` 16-bit values, written without DCMTK, with the canary in every text of a person and the institution.
struct TestInstance {
  std::string study = "1.2.3", series = "1.2.3.1", instance;
  std::string sop_class = "1.2.840.10008.5.1.4.1.1.4";  // MR image
  std::string accession = "ZZCANARY-A1";
  std::string content_time;  ///< left out when empty
  int seed = 0;      ///< what the pixels are
  int rows = 16, columns = 16;
};

/// The data set, explicit little endian, without preamble and meta header.
std::string data_set_bytes(const TestInstance& instance);
void write_instance(const std::filesystem::path& path, const TestInstance& instance);

/// A folder of the test's own. Whatever the program printed or wrote beside instances must not hold the canary, nor may a file name; checked in the end.
class PacsTest : public testing::Test {
 protected:
  static constexpr const char* kCanary = "ZZCANARY";

  void SetUp() override;
  void TearDown() override;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// n instances in two series of study 1.2.3, in `folder`, whose names hold the canary. Pixel data of `rows` x 256 values.
  void write_study(const std::string& folder, int n, int rows = 16) const;
  Ended run(const std::vector<std::string>& arguments);
  Ended send(const std::string& folder, const std::string& peer, const std::vector<std::string>& more = {});
  std::vector<std::string> listen_command(const std::string& inbox, int port, const std::vector<std::string>& more = {}) const;
  /// The port that a listener says it has; 0 when it says none.
  static int port_of(const Background& listener);
  void write_text(const std::string& name, const std::string& text) const;
  /// One line "postrec: error: ..." that contains each of `words`, and this exit code.
  static void expect_error(const Ended& ended, int code, const std::vector<std::string>& words);
  void remember(const std::string& output) { said_ += output; }

  /// The data sets of all instances below a folder.
  static std::multiset<std::string> data_sets(const std::filesystem::path& folder);
  static std::size_t count_instances(const std::filesystem::path& folder);

  std::filesystem::path folder_;

 private:
  std::string said_;
};

/// A free TCP port on the loopback interface.
int free_port();

/// The body of an HTTP answer to GET from 127.0.0.1, "" when there is none.
std::string http_get(int port, const std::string& target);

}  // namespace postrec
