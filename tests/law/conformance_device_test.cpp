// The operator laws on a device: that every operator that ships keeps them there, and that what goes wrong on a device only is found.
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "builtin_setups.hpp"
#include "ct_radon/ct_radon.hpp"
#include "grayscale/grayscale.hpp"
#include "host_launcher.hpp"
#include "masking/masking.hpp"
#include "mri_fourier/mri_fourier.hpp"
#include "postrec/conformance.hpp"
#include "pretend_device.hpp"

namespace postrec {
namespace {

OperatorType type_named(const std::string& name) {
  for (const OperatorType& type : {mri_fourier_type(), ct_radon_type(), masking_type(), grayscale_type()})
    if (type.name == name) return type;
  throw Error(ErrorKind::kInternal, "there is no builtin operator '" + name + "'");
}

class OnAPretendDevice : public testing::TestWithParam<test::Setup> {};

INSTANTIATE_TEST_SUITE_P(Operators, OnAPretendDevice, testing::ValuesIn(test::kBuiltinSetups), [](const auto& info) { return info.param.name; });

TEST_P(OnAPretendDevice, KeepsTheLaws) {
  const pretend::CtRadonHere here;
  Parameters base;
  GetParam().set(base);
  if (GetParam().operator_name == std::string("ct-radon")) base.set("n-views", std::int64_t{12});  // ray by ray, what a GPU's threads do takes long here
  pretend::reset_traffic();
  const std::vector<LawResult> results = check_operator_type(type_named(GetParam().operator_name), base, {pretend::device()});
  EXPECT_GT(pretend::traffic().to_device, 1000);  // it was there
  int n_there = 0;
  for (const LawResult& result : results) {
    EXPECT_TRUE(result.passed) << result.law << " errs by " << result.error << ": " << result.detail;
    n_there += result.detail.find(" on pretend:0: ") != std::string::npos;
  }
  EXPECT_EQ(n_there, 13);  // every law and "make"; bad parameters have no device
}

/// y = 2 x on [1, 13, 17], with one planted defect that shows off the CPU only.
class Planted : public Operator {
 public:
  explicit Planted(std::string defect = "none") : defect_(std::move(defect)) {}

  TensorSpec domain() const override { return {{1, 13, 17}, at::kFloat}; }
  TensorSpec codomain() const override { return domain(); }
  OperatorTraits traits() const override { return {}; }

  at::Tensor forward(const at::Tensor& x) const override {
    check(x);
    std::optional<c10::StreamGuard> guard;
    if (defect_ == "default stream" && x.is_cuda()) guard.emplace(c10::impl::VirtualGuardImpl(at::kCUDA).getDefaultStream(x.device()));
    at::Tensor y = x * factor(x);
    if (x.is_cpu()) return y;
    if (defect_ == "ignores gaps" && !x.is_non_overlapping_and_dense()) y = y.flip(-1);
    if (defect_ == "batch mixing" && x.size(0) > 1) y = y + 1e-4 * y.mean(0, true);
    if (defect_ == "one element") y.select(-1, 3).select(-1, 5).mul_(1.01);
    if (defect_ == "writes its input") x.mul_(3);
    return y;
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    check(v);
    const at::Tensor x = v * factor(v);
    return defect_ == "stays on the host" ? x.cpu() : x;
  }
  double norm_bound() const override { return 2.0; }

 private:
  double factor(const at::Tensor& x) const { return defect_ == "another operator" && !x.is_cpu() ? 1.999 : 2.0; }
  void check(const at::Tensor& x) const {
    if (!x.defined() || x.dim() != 4 || x.sizes().slice(1) != at::IntArrayRef({1, 13, 17})) throw Error(ErrorKind::kBadData, "wrong shape", "[B, 1, 13, 17]");
    if (defect_ == "none on the CPU" && x.is_cpu()) throw Error(ErrorKind::kUnavailable, "it works on a device only");
  }

  std::string defect_;
};

std::vector<LawResult> failed(const std::string& defect, const CheckOptions& options) {
  std::vector<LawResult> results = check_operator(Planted(defect), options);
  std::erase_if(results, [](const LawResult& result) { return result.passed; });
  return results;
}

std::set<std::string> failed_laws(const std::string& defect, at::Device device = pretend::device()) {
  std::set<std::string> laws;
  for (const LawResult& result : failed(defect, {.device = device})) laws.insert(result.law);
  return laws;
}

using Laws = std::set<std::string>;

TEST(ConformanceOnADevice, PassesAGoodOperator) { EXPECT_EQ(failed_laws("none"), Laws{}); }

TEST(ConformanceOnADevice, FindsWhatIsWrongThereOnly) {
  for (const std::string defect : {"ignores gaps", "batch mixing", "one element", "writes its input", "another operator", "stays on the host"})
    EXPECT_EQ(failed_laws(defect, at::kCPU), Laws{}) << defect;
  EXPECT_EQ(failed_laws("ignores gaps"), Laws{"strided"});
  EXPECT_EQ(failed_laws("batch mixing"), (Laws{"batch", "device"}));
  EXPECT_EQ(failed_laws("one element"), (Laws{"adjoint", "device", "norm_bound"}));
  // These keep every law of the CPU.
  EXPECT_EQ(failed_laws("another operator"), Laws{"device"});
  EXPECT_EQ(failed_laws("writes its input"), Laws{"device"});
  EXPECT_EQ(failed_laws("stays on the host"), Laws{"device"});
}

TEST(ConformanceOnADevice, SaysWhatIsWrong) {
  const auto detail = [](const std::string& defect) { return failed(defect, {.device = pretend::device()}).at(0).detail; };
  EXPECT_NE(detail("stays on the host").find("adjoint gave its result on cpu; its input lies on pretend:0"), std::string::npos);
  EXPECT_NE(detail("writes its input").find("an input was changed on pretend:0"), std::string::npos);
  EXPECT_NEAR(failed("another operator", {.device = pretend::device()}).at(0).error, 1e-3, 1e-6);  // normal: 1.999^2 against 2^2
}

TEST(ConformanceOnADevice, AnOperatorForADeviceOnlyIsNotRunOnTheCpu) {
  EXPECT_TRUE(failed("none on the CPU", {.device = pretend::device(), .works_on_cpu = false}).empty());
  EXPECT_EQ(failed("none on the CPU", {.device = pretend::device(), .works_on_cpu = true}).at(0).law, "device");

  OperatorType type{"device-only", "Works on a device", {}, [](const Parameters&) { return std::make_unique<Planted>("none on the CPU"); }};
  type.devices = {.cpu = false, .cuda = true};
  for (const LawResult& result : check_operator_type(type, {}, {pretend::device()})) EXPECT_TRUE(result.passed) << result.law << ": " << result.detail;
}

TEST(ConformanceOnADevice, ATypeHasOneResultOfEachLawForEachDevice) {
  const OperatorType type{"planted", "Wrong on a device", {}, [](const Parameters&) { return std::make_unique<Planted>("one element"); }};
  std::vector<LawResult> adjoint;
  for (const LawResult& result : check_operator_type(type, {}, {at::kCPU, pretend::device()}))
    if (result.law == "adjoint") adjoint.push_back(result);
  ASSERT_EQ(adjoint.size(), 2u);
  EXPECT_TRUE(adjoint[0].passed);
  EXPECT_EQ(adjoint[0].detail.find(" on "), std::string::npos) << adjoint[0].detail;
  EXPECT_FALSE(adjoint[1].passed);
  EXPECT_NE(adjoint[1].detail.find(" on pretend:0: "), std::string::npos) << adjoint[1].detail;
}

TEST(ConformanceOnADevice, ADeviceThatTheOperatorCannotUseIsAFailureAndNotTheEnd) {
  const auto results = check_operator_type(ct_radon_type(), {}, {pretend::device()});  // no launcher is set
  std::set<std::string> laws;
  for (const LawResult& result : results)
    if (!result.passed) laws.insert(result.law);
  EXPECT_TRUE(laws.count("device") && laws.count("make") && laws.count("adjoint"));
}

TEST(ConformanceOnCuda, FindsWhatIsWrongThereOnly) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  const at::Device cuda(at::kCUDA, 0);
  EXPECT_EQ(failed_laws("none", cuda), Laws{});
  EXPECT_EQ(failed_laws("ignores gaps", cuda), Laws{"strided"});
  for (const std::string defect : {"another operator", "writes its input", "stays on the host"}) EXPECT_EQ(failed_laws(defect, cuda), Laws{"device"}) << defect;
  EXPECT_TRUE(failed_laws("default stream", cuda).count("stream"));  // "concurrency" may fail too: a race
}

}  // namespace
}  // namespace postrec
