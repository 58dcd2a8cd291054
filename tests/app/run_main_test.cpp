// Whatever ends the program becomes one line and its documented exit code.
#include <c10/util/Exception.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "app_fixture.hpp"
#include "cli/console.hpp"
#include "cli/exit_codes.hpp"
#include "cli/run_main.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

using Body = std::function<int()>;

class RunMain : public testing::Test {
 protected:
  // What the program sets for its whole life.
  void TearDown() override {
    console().format = LogFormat::kText;
    on_failure({});
    for (const int number : {SIGBUS, SIGXFSZ}) std::signal(number, SIG_DFL);
  }

  /// As `postrec WORD...` whose command does this.
  static Ended run(const Body& body, std::vector<std::string> words = {}) {
    words.insert(words.begin(), "postrec");
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    Ended ended;
    testing::internal::CaptureStderr();
    ended.code = run_main(static_cast<int>(argv.size()), argv.data(), [&](const std::vector<std::string>& /*arguments*/) { return body(); });
    ended.err = testing::internal::GetCapturedStderr();
    return ended;
  }

  static void expect_end(int code, const std::string& line, const Body& body) {
    const Ended ended = run(body);
    EXPECT_EQ(ended.code, code) << line;
    EXPECT_EQ(ended.err, "postrec: error: " + line + "\n");
  }
};

TEST_F(RunMain, EachKindOfErrorHasItsCode) {
  const std::pair<ErrorKind, int> kinds[] = {{ErrorKind::kInternal, 1},      {ErrorKind::kUsage, 64},        {ErrorKind::kBadData, 65},     {ErrorKind::kNoInput, 66},
                                             {ErrorKind::kUnavailable, 69},  {ErrorKind::kNumerical, 70},    {ErrorKind::kOutOfMemory, 71}, {ErrorKind::kCannotCreate, 73},
                                             {ErrorKind::kInputOutput, 74},  {ErrorKind::kTemporary, 75},    {ErrorKind::kPacs, 76},        {ErrorKind::kConfiguration, 78},
                                             {ErrorKind::kInterrupted, 130}};
  for (const auto& [kind, code] : kinds) {
    expect_end(code, "x is 3; it must be 2", [kind = kind]() -> int { throw Error(kind, "x is 3", "it must be 2"); });
    EXPECT_NE(exit_code_meaning(code), "unknown") << code;
  }
}

TEST_F(RunMain, MemoryThatRanOutIsToldOfWhoeverNoticed) {
  const std::string hint = "; use a smaller --batch-size, fewer --samples or one --slice";
  expect_end(71, "out of memory" + hint, []() -> int { throw std::bad_alloc(); });
  expect_end(71, "no room for the batch" + hint, []() -> int { C10_THROW_ERROR(OutOfMemoryError, "no room for the batch"); });
  expect_end(71, "DefaultCPUAllocator: can't allocate memory" + hint, []() -> int { C10_THROW_ERROR(Error, "DefaultCPUAllocator: can't allocate memory"); });
}

TEST_F(RunMain, AnyOtherExceptionIsADefectInOneLine) {
  expect_end(1, "shapes do not match", []() -> int { C10_THROW_ERROR(Error, "shapes do not match"); });
  expect_end(1, "of two lines", []() -> int { throw std::runtime_error("of two\nlines"); });
  expect_end(1, "unknown exception", []() -> int { throw 7; });
}

// What the standard library says of a file holds its path, and that may hold a name.
TEST_F(RunMain, AFileThatCannotBeUsedIsNotNamed) {
  for (const auto& [reason, code] : {std::pair{ENOENT, 66}, {EACCES, 66}, {ENOTDIR, 66}, {ENOSPC, 74}, {EIO, 74}}) {
    const std::error_code error(reason, std::generic_category());
    expect_end(code, "a file or folder cannot be used: " + error.message() + "; check what was given, and what lies in its folders",
               [error]() -> int { throw std::filesystem::filesystem_error("cannot open", "/scans/ANNA", error); });
  }
}

TEST_F(RunMain, WhatACommandReturnsIsTheCode) {
  const Ended ended = run([] { return 8; });
  EXPECT_EQ(ended.code, 8);
  EXPECT_EQ(ended.err, "");
}

TEST_F(RunMain, ErrorsAreJsonOnRequest) {
  const Ended ended = run([]() -> int { throw Error(ErrorKind::kNumerical, "the sample is not finite", "check the prior"); }, {"reconstruct", "--log-format", "json"});
  EXPECT_EQ(ended.code, 70);
  EXPECT_EQ(ended.error_lines(), 1) << ended.err;
  EXPECT_EQ(nlohmann::json::parse(ended.err), nlohmann::json({{"level", "error"}, {"exit_code", 70}, {"message", "the sample is not finite"}, {"hint", "check the prior"}}));
}

TEST_F(RunMain, WhoListensHearsOfAFailureAndCannotChangeIt) {
  Failure heard;
  on_failure([&](const Failure& failure) {
    heard = failure;
    throw std::runtime_error("no room for a page");
  });
  const Ended ended = run([]() -> int { throw Error(ErrorKind::kBadData, "x is 3", "it must be 2"); });
  EXPECT_EQ(ended.code, 65);
  EXPECT_EQ(ended.err, "postrec: error: x is 3; it must be 2\npostrec: warning: no room for a page\n");
  EXPECT_EQ(heard.code, 65);
  EXPECT_EQ(heard.message, "x is 3");
  EXPECT_EQ(heard.hint, "it must be 2");
}

}  // namespace
}  // namespace postrec
