#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "plugin_test_support.hpp"
#include "plugin_test_types.hpp"
#include "postrec/plugin.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

using test::expect_error;
using test::plugin_folder;
using test::search_in;

at::Tensor random_batch(const TensorSpec& spec, std::uint64_t draw, std::int64_t batch = 3) {
  return RandomStreams(1, 0, batch).normal(draw, spec.shape, spec.dtype);
}

void expect_same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor p = a.resolve_conj().resolve_neg().contiguous(), q = b.resolve_conj().resolve_neg().contiguous();
  ASSERT_EQ(p.sizes(), q.sizes());
  ASSERT_EQ(p.scalar_type(), q.scalar_type());
  EXPECT_EQ(std::memcmp(p.const_data_ptr(), q.const_data_ptr(), p.nbytes()), 0);
}

class PluginOperatorTest : public testing::Test {
 protected:
  std::shared_ptr<const Operator> misbehaving(const std::string& how) {
    Parameters p;
    p.set("how", how);
    return registry_.make("test-misbehaving", p);
  }

  PluginRegistry registry_{search_in({plugin_folder("sdk-plugin")})};
};

TEST_F(PluginOperatorTest, TypeRoundTrip) {
  const OperatorType& there = registry_.operator_type("test-diagonal");
  const OperatorType here = test::diagonal_type();
  EXPECT_EQ(there.summary, here.summary);
  ASSERT_EQ(there.parameters.size(), here.parameters.size());
  for (std::size_t i = 0; i < here.parameters.size(); ++i) {
    const ParameterSpec &a = there.parameters[i], &b = here.parameters[i];
    EXPECT_EQ(a.key, b.key);
    EXPECT_EQ(a.type, b.type);
    EXPECT_EQ(a.unit, b.unit);
    EXPECT_EQ(a.default_text, b.default_text);
    EXPECT_EQ(a.required, b.required);
    EXPECT_EQ(a.minimum, b.minimum);
    EXPECT_EQ(a.maximum, b.maximum);
    EXPECT_EQ(a.choices, b.choices);
    EXPECT_EQ(a.help, b.help);
  }
}

// Through the boundary and directly: the same bits, for every function, type, parameter kind, and for inputs that are not contiguous.
TEST_F(PluginOperatorTest, RoundTripIsExact) {
  const OperatorType here = test::diagonal_type();
  for (const bool is_complex : {false, true}) {
    for (const char* transform : {"none", "fft"}) {
      SCOPED_TRACE(std::string(is_complex ? "complex " : "real ") + transform);
      Parameters p;
      p.set("height", std::int64_t{7});
      p.set("width", std::int64_t{11});
      p.set("complex", is_complex);
      p.set("transform", std::string(transform));
      p.set("gain", 0.3);
      p.set("weights", std::vector<double>{0.1, 7, 3.3});
      p.set("mask", random_batch({{7, 11}, at::kFloat}, 9, 1).squeeze(0).t().contiguous().t());
      const auto there = registry_.make("test-diagonal", p);
      const auto direct = here.make(check_parameters(here, p));
      ASSERT_EQ(there->domain(), direct->domain());
      ASSERT_EQ(there->codomain(), direct->codomain());
      EXPECT_EQ(there->norm_bound(), direct->norm_bound());
      EXPECT_TRUE(there->traits().linear && there->traits().has_normal_solve);
      EXPECT_EQ(there->traits().pseudo_inverse, PseudoInverseKind::kApproximate);
      const at::Tensor x = random_batch(direct->domain(), 0), v = random_batch(direct->codomain(), 1);
      const at::Tensor strided = x.transpose(0, 3).contiguous().transpose(0, 3), expanded = v.narrow(0, 0, 1).expand_as(v);
      expect_same_bits(there->forward(x), direct->forward(x));
      expect_same_bits(there->forward(strided), direct->forward(strided));
      expect_same_bits(there->adjoint(v), direct->adjoint(v));
      expect_same_bits(there->adjoint(expanded), direct->adjoint(expanded));
      expect_same_bits(there->normal(x), direct->normal(x));
      expect_same_bits(there->normal_solve(0.7, x), direct->normal_solve(0.7, x));
      expect_same_bits(there->pseudo_inverse(v), direct->pseudo_inverse(v));
      // Lazy conjugation and negation live in the tensor, not in its memory.
      if (is_complex) expect_same_bits(there->forward(x.conj()), direct->forward(x.conj().resolve_conj()));
      if (is_complex && transform == std::string("none"))
        expect_same_bits(there->adjoint(at::complex(at::imag(x.conj()), at::imag(x.conj()))),
                         direct->adjoint(at::complex(-at::imag(x), -at::imag(x))));
    }
  }
}

TEST_F(PluginOperatorTest, ResultIsTheCallers) {
  const auto op = misbehaving("well");  // forward returns its input
  at::Tensor x = at::ones({1, 1, 3, 5});
  const at::Tensor y = op->forward(x);
  x.zero_();
  EXPECT_TRUE(y.equal(at::ones({1, 1, 3, 5})));
  EXPECT_TRUE(y.is_contiguous());
}

// A given result is memory without an allocator of the host's; the input, which forward returns here, must have been copied by the SDK.
TEST_F(PluginOperatorTest, FreshResultsAreGivenAndSharedOnesCopied) {
  Parameters p;
  p.set("height", std::int64_t{3});
  p.set("width", std::int64_t{5});
  const at::Tensor x = at::ones({1, 1, 3, 5});
  EXPECT_EQ(registry_.make("test-diagonal", p)->forward(x).storage().allocator(), nullptr);
  EXPECT_NE(misbehaving("well")->forward(x).const_data_ptr(), x.const_data_ptr());
}

TEST_F(PluginOperatorTest, EmptyBatch) {
  EXPECT_EQ(misbehaving("well")->forward(at::empty({0, 1, 3, 5})).sizes(), (std::vector<std::int64_t>{0, 1, 3, 5}));
}

TEST_F(PluginOperatorTest, OperatorOutlivesItsRegistry) {
  std::shared_ptr<const Operator> op;
  {
    PluginRegistry registry(search_in({plugin_folder("sdk-plugin")}));
    op = registry.make("test-misbehaving", {});
  }
  EXPECT_TRUE(op->forward(at::ones({1, 1, 3, 5})).equal(at::ones({1, 1, 3, 5})));
}

TEST_F(PluginOperatorTest, ErrorsKeepKindMessageAndHint) {
  const at::Tensor x = at::ones({1, 1, 3, 5});
  try {
    misbehaving("error")->forward(x);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kNumerical);
    EXPECT_EQ(e.message(), "operator 'test-misbehaving': it diverged at step 3");
    EXPECT_EQ(e.hint(), "take smaller steps");
  }
  expect_error(ErrorKind::kNoInput, "no file 'a'; give one", [&] { misbehaving("make-throws"); });
  expect_error(ErrorKind::kInternal, "index 7", [&] { misbehaving("std-exception")->forward(x); });
  expect_error(ErrorKind::kOutOfMemory, "out of memory", [&] { misbehaving("bad-alloc")->forward(x); });
  expect_error(ErrorKind::kOutOfMemory, "CUFFT_ALLOC_FAILED", [&] { misbehaving("cufft")->forward(x); });
  expect_error(ErrorKind::kInternal, "not a std::exception", [&] { misbehaving("int")->forward(x); });
  expect_error(ErrorKind::kInternal, "shape '[2, 2]' is invalid", [&] { misbehaving("libtorch")->forward(x); });
}

// A string of the text could throw once more where memory ran out, and in a function that is noexcept that ends the program.
static_assert(noexcept(sdk::report(nullptr, ErrorKind::kOutOfMemory, "out of memory in a plugin")));

TEST(SdkErrors, TextsAreCutToTheBuffers) {
  std::array<char, 8> message{}, hint{'x'};
  postrec_error error = {POSTREC_ABI_VERSION, sizeof(postrec_error), message.data(), message.size(), hint.data(), hint.size()};
  EXPECT_EQ(sdk::report(&error, ErrorKind::kNumerical, "it diverged"), POSTREC_NUMERICAL);
  EXPECT_STREQ(message.data(), "it dive");
  EXPECT_STREQ(hint.data(), "");
}

TEST_F(PluginOperatorTest, ResultsOfAnotherShapeAreRefused) {
  const at::Tensor x = at::ones({1, 1, 3, 5});
  expect_error(ErrorKind::kInternal, "forward returned [1, 1, 3, 4]", [&] { misbehaving("wrong-shape")->forward(x); });
  expect_error(ErrorKind::kInternal, "of Double", [&] { misbehaving("wrong-dtype")->forward(x); });
  expect_error(ErrorKind::kInternal, "undefined tensor", [&] { misbehaving("undefined")->forward(x); });
  expect_error(ErrorKind::kInternal, "make returned no operator", [&] { misbehaving("make-nothing"); });
  expect_error(ErrorKind::kUnavailable, "its norm_bound is nan", [&] { misbehaving("nan-norm")->norm_bound(); });
}

TEST_F(PluginOperatorTest, InputsAreCheckedBeforeTheyCross) {
  const auto op = misbehaving("well");
  expect_error(ErrorKind::kBadData, "the input of forward is [1, 1, 3, 6] of Float; it must be [B, 1, 3, 5] of Float", [&] {
    op->forward(at::ones({1, 1, 3, 6}));
  });
  expect_error(ErrorKind::kBadData, "is [1, 3, 5]", [&] { op->forward(at::ones({1, 3, 5})); });
  expect_error(ErrorKind::kBadData, "of Double", [&] { op->forward(at::ones({1, 1, 3, 5}, at::kDouble)); });
  expect_error(ErrorKind::kBadData, "of ComplexFloat", [&] { op->adjoint(at::ones({1, 1, 3, 5}, at::kComplexFloat)); });
  expect_error(ErrorKind::kBadData, "undefined", [&] { op->forward({}); });
  expect_error(ErrorKind::kBadData, "lies on meta", [&] { op->forward(at::ones({1, 1, 3, 5}, at::TensorOptions(at::kMeta))); });
  expect_error(ErrorKind::kBadData, "is []", [&] { op->forward(at::ones({})); });
  Parameters p;
  p.set("height", std::int64_t{3});
  p.set("width", std::int64_t{5});
  const auto diagonal = registry_.make("test-diagonal", p);
  expect_error(ErrorKind::kBadData, "lambda", [&] { diagonal->normal_solve(0.0, at::ones({1, 1, 3, 5})); });
  expect_error(ErrorKind::kBadData, "lambda", [&] { diagonal->normal_solve(std::nan(""), at::ones({1, 1, 3, 5})); });
  expect_error(ErrorKind::kInternal, "no closed-form", [&] { op->normal_solve(1.0, at::ones({1, 1, 3, 5})); });
}

TEST_F(PluginOperatorTest, ParametersAreCheckedBeforeTheyCross) {
  Parameters p;
  p.set("howe", std::string("well"));
  expect_error(ErrorKind::kConfiguration, "did you mean 'how'?", [&] { registry_.make("test-misbehaving", p); });
  expect_error(ErrorKind::kConfiguration, "did you mean 'how'?", [&] { registry_.operator_type("test-misbehaving").make(p); });
}

TEST_F(PluginOperatorTest, LoadedOnceFromManyThreads) {
  std::vector<std::thread> threads;
  std::array<bool, 8> right{};
  for (std::size_t t = 0; t < right.size(); ++t) {
    threads.emplace_back([&, t] {
      const at::Tensor x = at::full({1, 1, 3, 5}, static_cast<double>(t), at::kFloat);
      right[t] = registry_.make("test-misbehaving", {})->forward(x).equal(x);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const bool ok : right) EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace postrec
