#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "plugin_test_support.hpp"
#include "plugin_test_types.hpp"
#include "postrec/conformance.hpp"

namespace postrec {
namespace {

/// y = 2 x on [1, 13, 17], checked on entry, with one planted defect.
class Planted : public Operator {
 public:
  Planted(std::string defect, at::ScalarType dtype) : defect_(std::move(defect)), dtype_(dtype) {}

  TensorSpec domain() const override { return {{1, 13, 17}, dtype_}; }
  TensorSpec codomain() const override { return domain(); }
  OperatorTraits traits() const override { return {true, true, PseudoInverseKind::kExact}; }

  at::Tensor forward(const at::Tensor& x) const override {
    check(x);
    at::Tensor y = x * 2;
    if (defect_ == "one element of forward") y.select(-1, 3).select(-1, 5).mul_(1.01);
    if (defect_ == "affine") y = y + 1e-3;
    if (defect_ == "nan") y.select(-1, 3).fill_(std::nan(""));
    if (defect_ == "batch mixing") y = y + 1e-6 * x.mean(0, true);
    if (defect_ == "ignores strides" && !x.is_contiguous()) y = y.flip(-1);
    if (defect_ == "writes its input") x.mul_(3);
    if (defect_ == "noise") y = y * (1 + 1e-6 * static_cast<double>(n_calls_++ % 2));
    if (defect_ == "shared scratch") y = through_shared_scratch(y);
    return y;
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    check(v);
    if (defect_ == "adjoint scale") return v * 2.001;
    if (defect_ == "adjoint flipped") return v.flip(-1) * 2;
    if (defect_ == "phase") return v * c10::complex<double>(0, -2);
    return v * 2;
  }
  at::Tensor normal(const at::Tensor& x) const override { return x * (defect_ == "normal scale" ? 4.001 : 4.0); }
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override {
    if (defect_ == "solve ignores strides" && !b.is_contiguous()) return b.flip(-1);
    return b / ((defect_ == "solve" ? 4.01 : 4.0) + lambda);
  }
  at::Tensor pseudo_inverse(const at::Tensor& y) const override {
    if (defect_ == "inverse ignores strides" && !y.is_contiguous()) return y.flip(-1);
    return y * (defect_ == "inverse" ? 0.501 : 0.5);
  }
  double norm_bound() const override { return defect_ == "norm bound" ? 1.99 : defect_ == "nan bound" ? std::nan("") : 2.0; }

 private:
  void check(const at::Tensor& x) const {
    if (defect_ == "accepts any shape" && x.defined()) return;
    if (!x.defined() || x.dim() != 4 || x.sizes().slice(1) != at::IntArrayRef({1, 13, 17}))
      throw Error(ErrorKind::kBadData, "wrong shape", "[B, 1, 13, 17]");
  }
  at::Tensor through_shared_scratch(const at::Tensor& y) const {
    static at::Tensor scratch = at::zeros({13 * 17}, dtype_);
    scratch.copy_(y.select(0, 0).flatten());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // long enough for another thread to come between
    at::Tensor result = y.clone();
    result.select(0, 0).copy_(scratch.view({1, 13, 17}));
    return result;
  }

  std::string defect_;
  at::ScalarType dtype_;
  mutable std::atomic<int> n_calls_{0};
};

std::set<std::string> failed_laws(const Operator& op) {
  std::set<std::string> failed;
  for (const LawResult& result : check_operator(op))
    if (!result.passed) failed.insert(result.law);
  return failed;
}

std::set<std::string> failed_laws(const std::string& defect, at::ScalarType dtype = at::kFloat) {
  return failed_laws(Planted(defect, dtype));
}

using Laws = std::set<std::string>;

TEST(Conformance, PassesAGoodOperator) {
  EXPECT_EQ(failed_laws("none"), Laws{});
  EXPECT_EQ(failed_laws("none", at::kComplexFloat), Laws{});
}

TEST(Conformance, FindsEachPlantedDefect) {
  EXPECT_TRUE(failed_laws("one element of forward").count("adjoint"));
  EXPECT_EQ(failed_laws("adjoint scale"), (Laws{"adjoint", "normal"}));
  EXPECT_EQ(failed_laws("adjoint flipped"), (Laws{"adjoint", "normal"}));
  EXPECT_EQ(failed_laws("phase", at::kComplexFloat), (Laws{"adjoint", "normal"}));
  EXPECT_TRUE(failed_laws("affine").count("linear"));
  EXPECT_TRUE(failed_laws("nan").count("adjoint"));
  EXPECT_TRUE(failed_laws("normal scale").count("normal"));
  EXPECT_EQ(failed_laws("solve"), (Laws{"normal_solve"}));
  EXPECT_EQ(failed_laws("inverse"), (Laws{"pseudo_inverse"}));
  EXPECT_TRUE(failed_laws("batch mixing").count("batch"));
  for (const char* which : {"ignores strides", "solve ignores strides", "inverse ignores strides"}) EXPECT_EQ(failed_laws(which), (Laws{"strided"})) << which;
  EXPECT_TRUE(failed_laws("noise").count("determinism"));
  EXPECT_TRUE(failed_laws("shared scratch").count("concurrency"));
  EXPECT_EQ(failed_laws("norm bound"), (Laws{"norm_bound"}));
  EXPECT_TRUE(failed_laws("nan bound").count("norm_bound"));
  EXPECT_EQ(failed_laws("accepts any shape"), (Laws{"bad_shape"}));
  EXPECT_TRUE(failed_laws("writes its input").count("device"));
}

TEST(Conformance, IsDeterministic) {
  const Planted op("adjoint scale", at::kComplexFloat);
  const auto first = check_operator(op), second = check_operator(op);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].error, second[i].error) << first[i].law;
}

/// y = x^3 / 3, J = diag(x^2).
class Cubic : public Operator {
 public:
  explicit Cubic(double scale) : scale_(scale) {}
  TensorSpec domain() const override { return {{1, 7, 11}, at::kFloat}; }
  TensorSpec codomain() const override { return domain(); }
  OperatorTraits traits() const override { return {false, false, PseudoInverseKind::kNone}; }
  at::Tensor forward(const at::Tensor& x) const override {
    check(x);
    return x * x * x / 3;
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override {
    check(v);
    return scale_ * x * x * v;
  }
  double norm_bound() const override { return 100; }

 private:
  void check(const at::Tensor& x) const {
    if (!x.defined() || x.dim() != 4 || x.sizes().slice(1) != at::IntArrayRef({1, 7, 11}))
      throw Error(ErrorKind::kBadData, "wrong shape", "");
  }
  double scale_;
};

TEST(Conformance, NonLinearAdjointIsThatOfTheDerivative) {
  EXPECT_EQ(failed_laws(Cubic(1.0)), Laws{});
  EXPECT_EQ(failed_laws(Cubic(1.01)), Laws{"adjoint"});
}

std::vector<LawResult> results_of(const std::vector<LawResult>& all, const std::string& law) {
  std::vector<LawResult> found;
  for (const LawResult& result : all)
    if (result.law == law) found.push_back(result);
  return found;
}

TEST(Conformance, TypeVariantsThroughTheDoor) {
  PluginRegistry registry(test::search_in({test::plugin_folder("sdk-plugin")}));
  const auto results = check_operator_type(registry.operator_type("test-diagonal"));
  for (const LawResult& result : results) EXPECT_TRUE(result.passed) << result.law << ": " << result.detail;
  // Four sizes, each plain and with complex=true, complex=false, transform=none and transform=fft.
  ASSERT_EQ(results_of(results, "adjoint").size(), 1u);
  EXPECT_NE(results_of(results, "adjoint")[0].detail.find("worst of 20, 0 failed"), std::string::npos);
  // An unknown key, and both ends of height, width and gain and of the list.
  EXPECT_EQ(results_of(results, "bad_parameter").size(), 9u);
}

TEST(Conformance, ADefectInOneVariantIsFound) {
  OperatorType type = test::diagonal_type();
  type.make = [](const Parameters& p) -> std::unique_ptr<Operator> {
    class Broken : public test::Diagonal {
     public:
      using Diagonal::Diagonal;
      at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override {
        return Diagonal::adjoint(v, x) * (domain().shape[1] == 15 && domain().dtype == at::kComplexFloat ? 1.01 : 1.0);
      }
    };
    return std::make_unique<Broken>(p);
  };
  const auto adjoint = results_of(check_operator_type(type), "adjoint");
  ASSERT_EQ(adjoint.size(), 1u);
  EXPECT_FALSE(adjoint[0].passed);
  EXPECT_NE(adjoint[0].detail.find("15x21 complex=true"), std::string::npos) << adjoint[0].detail;
  EXPECT_NE(adjoint[0].detail.find("1 failed"), std::string::npos) << adjoint[0].detail;
}

TEST(Conformance, ATypeThatCannotBeMadeFails) {
  OperatorType type = test::diagonal_type();
  type.parameters.push_back({"table", ParameterType::kTensor, "", "", true, {}, {}, {}, "Needed."});
  const auto results = check_operator_type(type);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].passed);
  EXPECT_NE(results[0].detail.find("needs the parameter 'table'"), std::string::npos);
  Parameters base;
  base.set("table", at::ones({1}));
  EXPECT_GT(check_operator_type(type, base).size(), 10u);
}

OperatorType diagonal_on(DeviceSupport devices) {
  OperatorType type = test::diagonal_type();
  type.devices = devices;
  return type;
}

TEST(Conformance, ATypeIsCheckedOnTheDevicesThatItNamesAndThatAreHere) {
  const auto [here, missing] = devices_to_check(diagonal_on({.cpu = true, .cuda = true}));
  if (at::hasCUDA()) {
    EXPECT_EQ(here, (std::vector<at::Device>{at::kCPU, at::Device(at::kCUDA, 0)}));
    EXPECT_TRUE(missing.empty());
  } else {
    EXPECT_EQ(here, std::vector<at::Device>{at::kCPU});
    EXPECT_EQ(missing, std::vector<std::string>{"cuda"});
  }
  const auto [cpu_only, nothing] = devices_to_check(diagonal_on({.cpu = true, .cuda = false}));
  EXPECT_EQ(cpu_only, std::vector<at::Device>{at::kCPU});
  EXPECT_TRUE(nothing.empty());
}

TEST(Conformance, ATypeWithoutADeviceHereGivesOneClearError) {
  test::expect_error(ErrorKind::kUnavailable, "operator 'test-diagonal' names no device",
                     [] { check_operator_type(diagonal_on({.cpu = false, .cuda = false})); });
  if (at::hasCUDA()) GTEST_SKIP() << "a CUDA device is here, so a type for CUDA has one";
  test::expect_error(ErrorKind::kUnavailable, "operator 'test-diagonal' works on CUDA only, and there is no CUDA device here, only the CPU",
                     [] { check_operator_type(diagonal_on({.cpu = false, .cuda = true})); });
}

}  // namespace
}  // namespace postrec
