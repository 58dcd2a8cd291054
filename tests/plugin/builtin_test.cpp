#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <sstream>

#include "builtin_setups.hpp"
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

class Builtin : public testing::TestWithParam<test::Setup> {
 protected:
  // Through the same door as everybody's plugins.
  PluginRegistry registry_{test::search_in({std::filesystem::path(POSTREC_BINARY_DIR) / "lib/postrec/plugins"})};

  const OperatorType& type() { return registry_.operator_type(GetParam().operator_name); }

  void expect_laws(at::Device device) {
    Parameters base;
    GetParam().set(base);
    const std::vector<LawResult> results = check_operator_type(type(), base, {device});
    EXPECT_GT(results.size(), 10u);
    for (const LawResult& result : results) EXPECT_TRUE(result.passed) << result.law << ": " << result.detail;
    if (HasFailure()) std::puts(table(results).c_str());
  }
};

TEST_P(Builtin, KeepsTheLaws) {
  EXPECT_TRUE(registry_.problems().empty());
  EXPECT_EQ(registry_.plugin_of(GetParam().operator_name).id, std::string("org.postrec.") + GetParam().operator_name);
  expect_laws(at::kCPU);
}

TEST_P(Builtin, KeepsTheLawsOnCuda) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  if (!type().devices.cuda) GTEST_SKIP() << GetParam().operator_name << " was built without CUDA";
  expect_laws(at::Device(at::kCUDA, 0));
}

INSTANTIATE_TEST_SUITE_P(Operators, Builtin, testing::ValuesIn(test::kBuiltinSetups), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace postrec
