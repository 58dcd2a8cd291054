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

/// An operator with what the user would have to choose; sizes, booleans and other choices are varied by the check.
struct Setup {
  const char* name;
  const char* operator_name;
  void (*set)(Parameters&);
};

void PrintTo(const Setup& setup, std::ostream* out) { *out << setup.name; }

void set_fan(Parameters& p, const std::string& beam) {
  p.set("beam", beam);
  p.set("source-to-isocenter-mm", 100.0);
  p.set("source-to-detector-mm", 180.0);
}

/// Three complex coils with a phase that turns, and a quarter of the lines.
void set_coils(Parameters& p) {
  p.set("height", std::int64_t{17});
  p.set("width", std::int64_t{23});
  const at::Tensor magnitude = at::linspace(0.2, 1.0, 3 * 17 * 23).view({3, 17, 23});
  p.set("sens-maps", at::polar(magnitude, 5 * magnitude));
  p.set("mask-pattern", std::string("equispaced"));
}

const Setup kSetups[] = {
    {"mri_fourier_one_coil", "mri-fourier", [](Parameters&) {}},
    {"mri_fourier_three_coils", "mri-fourier", set_coils},
    {"ct_radon_parallel", "ct-radon", [](Parameters&) {}},
    {"ct_radon_fan_flat", "ct-radon", [](Parameters& p) { set_fan(p, "fan-flat"); }},
    {"ct_radon_fan_curved", "ct-radon", [](Parameters& p) { set_fan(p, "fan-curved"); }},
    {"masking", "masking", [](Parameters& p) { p.set("pattern", std::string("random")); }},
    {"grayscale", "grayscale", [](Parameters&) {}},
};

class Builtin : public testing::TestWithParam<Setup> {};

// Through the same door as everybody's plugins.
TEST_P(Builtin, KeepsTheLaws) {
  const std::string name = GetParam().operator_name;
  PluginRegistry registry(test::search_in({std::filesystem::path(POSTREC_BINARY_DIR) / "lib/postrec/plugins"}));
  EXPECT_TRUE(registry.problems().empty());
  EXPECT_EQ(registry.plugin_of(name).id, "org.postrec." + name);
  Parameters base;
  GetParam().set(base);
  const std::vector<LawResult> results = check_operator_type(registry.operator_type(name), base);
  EXPECT_GT(results.size(), 10u);
  for (const LawResult& result : results) EXPECT_TRUE(result.passed) << result.law << ": " << result.detail;
  if (HasFailure()) std::puts(table(results).c_str());
}

INSTANTIATE_TEST_SUITE_P(Operators, Builtin, testing::ValuesIn(kSetups), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace postrec
