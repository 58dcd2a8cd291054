#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "child_process.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define POSTREC_ASAN 1
#endif

namespace postrec::test {
namespace {

const ChildLimits kLimits{std::uint64_t{256} << 20, 5};

TEST(ChildProcess, HandsItsResultOver) {
  const SharedMemory memory(1 << 20);
  auto* bytes = static_cast<unsigned char*>(memory.data());
  EXPECT_EQ(run_in_child([&] { std::memset(bytes, 7, 1 << 20); }, kLimits), "");
  EXPECT_EQ(bytes[0], 7);
  EXPECT_EQ(bytes[(1 << 20) - 1], 7);
}

TEST(ChildProcess, ItsDeathIsItsOwn) {
  EXPECT_EQ(run_in_child([] { std::abort(); }, kLimits), "SIGABRT");
  EXPECT_EQ(run_in_child([] { std::raise(SIGBUS); }, kLimits), "SIGBUS");
  EXPECT_EQ(run_in_child([] { throw std::runtime_error("x"); }, kLimits), "an exception");
}

TEST(ChildProcess, MemoryIsLimited) {
#ifdef POSTREC_ASAN
  GTEST_SKIP() << "AddressSanitizer ends the process when an allocation fails";
#endif
  const auto bomb = [] {
    std::vector<std::vector<char>> blocks;
    for (;;) blocks.emplace_back(1 << 24, 'x');
  };
  EXPECT_EQ(run_in_child(bomb, kLimits), "out of memory");
}

TEST(ChildProcess, TimeIsLimited) {
  const auto start = std::chrono::steady_clock::now();
  volatile bool forever = true;
  EXPECT_EQ(run_in_child(
                [&] {
                  while (forever) continue;
                },
                {kLimits.memory_bytes, 1}),
            "out of time");
  EXPECT_EQ(run_in_child([] { ::pause(); }, {kLimits.memory_bytes, 1}), "out of time");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(ChildProcess, PrintsNothing) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  run_in_child(
      [] {
        std::puts("ZZCANARY");
        std::fflush(stdout);
        std::fputs("ZZCANARY", stderr);
      },
      kLimits);
  EXPECT_EQ(testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace postrec::test
