#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "image_bytes.hpp"
#include "postrec/data/scan.hpp"

namespace postrec::test {
namespace {

TEST(StartUpDeathTest, ItkAutoloadPathLoadsNothing) {
  // A fresh process, because ITK looks at the variable once.
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TempFolder folder;
  const fs::path trace = folder / "trace";
  ::setenv("ITK_AUTOLOAD_PATH", POSTREC_AUTOLOAD_TRAP, 1);
  ::setenv("POSTREC_AUTOLOAD_TRACE", trace.c_str(), 1);
  EXPECT_EXIT(
      {
        for (const auto& sample : write_samples(folder, oblique())) read_scan(sample.main);
        std::_Exit(fs::exists(trace) ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
  ::unsetenv("ITK_AUTOLOAD_PATH");
}

}  // namespace
}  // namespace postrec::test
