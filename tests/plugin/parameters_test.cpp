#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plugin_test_support.hpp"
#include "plugin_test_types.hpp"

namespace postrec {
namespace {

using test::expect_error;

Parameters sized() {
  Parameters p;
  p.set("height", std::int64_t{3});
  p.set("width", std::int64_t{5});
  return p;
}

const ParameterSpec& spec(const OperatorType& type, const std::string& key) {
  for (const ParameterSpec& s : type.parameters)
    if (s.key == key) return s;
  throw std::logic_error(key);
}

TEST(Parameters, DefaultsAreFilledIn) {
  const Parameters p = check_parameters(test::diagonal_type(), sized());
  EXPECT_EQ(p.integer("height"), 3);
  EXPECT_EQ(p.boolean("complex"), false);
  EXPECT_EQ(p.real("gain"), 1.5);
  EXPECT_EQ(p.text("transform"), "none");
  EXPECT_EQ(p.real_list("weights"), (std::vector<double>{1, 2}));
  EXPECT_FALSE(p.has("mask"));
}

TEST(Parameters, UnknownKeyNamesTheNearest) {
  Parameters p = sized();
  p.set("hieght", std::int64_t{3});
  expect_error(ErrorKind::kConfiguration, "no parameter 'hieght'; did you mean 'height'?",
               [&] { check_parameters(test::diagonal_type(), p); });
  p = sized();
  p.set("transfrm", std::string("fft"));
  expect_error(ErrorKind::kConfiguration, "did you mean 'transform'?", [&] { check_parameters(test::diagonal_type(), p); });
}

TEST(Parameters, MissingRequiredOneIsNamed) {
  Parameters p;
  p.set("height", std::int64_t{3});
  expect_error(ErrorKind::kConfiguration, "needs the parameter 'width'; set width=..., an integer from 1 to 4096",
               [&] { check_parameters(test::diagonal_type(), p); });
}

TEST(Parameters, WrongValuesAreRefused) {
  const OperatorType type = test::diagonal_type();
  const auto refused = [&](const std::string& key, ParameterValue value, const std::string& part) {
    Parameters p = sized();
    p.set(key, std::move(value));
    expect_error(ErrorKind::kConfiguration, part, [&] { check_parameters(type, p); });
  };
  refused("height", std::int64_t{0}, "'height' cannot be '0'; it must be an integer from 1 to 4096");
  refused("height", 3.0, "'height' has the wrong type");
  refused("gain", 10.5, "'gain' cannot be '10.5'; it must be a number from -10 to 10 in 1/mm");
  refused("gain", std::nan(""), "'gain' cannot be 'nan'");
  refused("gain", std::string("1"), "'gain' has the wrong type");
  refused("weights", std::vector<double>{1, -1}, "'weights' cannot be '-1'");
  refused("transform", std::string("ftt"), "did you mean 'fft'?");
  refused("complex", std::int64_t{1}, "'complex' has the wrong type");
  refused("mask", at::Tensor(), "undefined tensor");
  refused("mask", at::full({3, 5}, std::nan("")), "holds a NaN");
}

TEST(Parameters, WidensWithoutLoss) {
  Parameters p = sized();
  p.set("gain", std::int64_t{2});
  p.set("mask", at::ones({3, 5}, at::kBool));
  const Parameters checked = check_parameters(test::diagonal_type(), p);
  EXPECT_EQ(checked.real("gain"), 2.0);
  EXPECT_EQ(checked.tensor("mask").scalar_type(), at::kFloat);
}

TEST(Parameters, TextIsParsed) {
  const OperatorType type = test::diagonal_type();
  EXPECT_EQ(std::get<std::int64_t>(parse_parameter(spec(type, "height"), "17")), 17);
  EXPECT_EQ(std::get<double>(parse_parameter(spec(type, "gain"), "-1.25e-1")), -0.125);
  EXPECT_EQ(std::get<double>(parse_parameter(spec(type, "gain"), "3")), 3.0);
  EXPECT_EQ(std::get<bool>(parse_parameter(spec(type, "complex"), "yes")), true);
  EXPECT_EQ(std::get<bool>(parse_parameter(spec(type, "complex"), "0")), false);
  EXPECT_EQ(std::get<std::vector<double>>(parse_parameter(spec(type, "weights"), "1, 2.5,3")), (std::vector<double>{1, 2.5, 3}));
  EXPECT_EQ(std::get<std::string>(parse_parameter(spec(type, "label"), "any text")), "any text");
}

TEST(Parameters, BadTextIsRefused) {
  const OperatorType type = test::diagonal_type();
  const auto refused = [&](const std::string& key, const std::string& text) {
    expect_error(ErrorKind::kConfiguration, "'" + key + "'", [&] { parse_parameter(spec(type, key), text); });
  };
  for (const char* text : {"", "x", "1.5", "17x", "1 7", "99999999999999999999", "0", "4097"}) refused("height", text);
  for (const char* text : {"", "x", "1,5", "nan", "inf", "1e999", "10.001"}) refused("gain", text);
  for (const char* text : {"", "TRUE", "2"}) refused("complex", text);
  for (const char* text : {"", ",", "1,", "1,,2", "1;2", "1,-1"}) refused("weights", text);
  refused("transform", "dft");
  refused("mask", "mask.nii");
}

}  // namespace
}  // namespace postrec
