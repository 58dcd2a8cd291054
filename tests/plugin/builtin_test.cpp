#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <sstream>

#include "plugin_test_support.hpp"
#include "postrec/conformance.hpp"

namespace postrec {
namespace {

std::string table(const std::vector<LawResult>& results) {
  std::ostringstream out;
  for (const LawResult& r : results)
    out << (r.passed ? "pass " : "FAIL ") << r.law << (r.applies ? "" : " (does not apply)") << " error " << r.error << " tolerance "
        << r.tolerance << ": " << r.detail << '\n';
  return out.str();
}

/// What the user would have to choose.
Parameters base_of(const std::string& name) {
  Parameters p;
  if (name == "masking") p.set("pattern", std::string("random"));
  return p;
}

class Builtin : public testing::TestWithParam<std::string> {};

// Through the same door as everybody's plugins.
TEST_P(Builtin, KeepsTheLaws) {
  PluginRegistry registry(test::search_in({std::filesystem::path(POSTREC_BINARY_DIR) / "lib/postrec/plugins"}));
  EXPECT_TRUE(registry.problems().empty());
  EXPECT_EQ(registry.plugin_of(GetParam()).id, "org.postrec." + GetParam());
  const std::vector<LawResult> results = check_operator_type(registry.operator_type(GetParam()), base_of(GetParam()));
  EXPECT_GT(results.size(), 10u);
  for (const LawResult& result : results) EXPECT_TRUE(result.passed) << result.law << ": " << result.detail;
  RecordProperty("laws", table(results));
  if (HasFailure()) std::puts(table(results).c_str());
}

INSTANTIATE_TEST_SUITE_P(Operators, Builtin, testing::Values("mri-fourier", "ct-radon", "masking", "grayscale"), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

}  // namespace
}  // namespace postrec
