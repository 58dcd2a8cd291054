#include <gtest/gtest.h>

#include <cstddef>
#include <iterator>

#include "postrec/abi.h"
#include "postrec/error.hpp"
#include "postrec/operator.hpp"

extern "C" {
extern const std::size_t postrec_test_c_layout[];
extern const std::size_t postrec_test_c_layout_size;
}

namespace {

TEST(Abi, LayoutIsTheSameInCAndCxx) {
  const std::size_t cxx[] = {sizeof(postrec_error),          offsetof(postrec_error, hint_capacity),
                             sizeof(postrec_tensor),         offsetof(postrec_tensor, device_index),
                             sizeof(postrec_tensor_spec),    offsetof(postrec_tensor_spec, shape),
                             sizeof(postrec_parameter_spec), offsetof(postrec_parameter_spec, n_choices),
                             sizeof(postrec_parameter),      offsetof(postrec_parameter, tensor),
                             sizeof(postrec_call),           offsetof(postrec_call, give_result),
                             sizeof(postrec_traits),         offsetof(postrec_traits, reserved),
                             sizeof(postrec_operator_type),  offsetof(postrec_operator_type, norm_bound),
                             sizeof(postrec_plugin),         offsetof(postrec_plugin, n_operator_types)};
  ASSERT_EQ(std::size(cxx), postrec_test_c_layout_size);
  for (std::size_t i = 0; i < std::size(cxx); ++i) EXPECT_EQ(cxx[i], postrec_test_c_layout[i]) << "entry " << i;
}

// A status crosses as the number of its ErrorKind; the two lists are written apart because abi.h knows no C++.
TEST(Abi, StatusesAreErrorKinds) {
  using postrec::ErrorKind;
  EXPECT_EQ(POSTREC_INTERNAL, static_cast<int>(ErrorKind::kInternal));
  EXPECT_EQ(POSTREC_BAD_DATA, static_cast<int>(ErrorKind::kBadData));
  EXPECT_EQ(POSTREC_NO_INPUT, static_cast<int>(ErrorKind::kNoInput));
  EXPECT_EQ(POSTREC_UNAVAILABLE, static_cast<int>(ErrorKind::kUnavailable));
  EXPECT_EQ(POSTREC_NUMERICAL, static_cast<int>(ErrorKind::kNumerical));
  EXPECT_EQ(POSTREC_OUT_OF_MEMORY, static_cast<int>(ErrorKind::kOutOfMemory));
  EXPECT_EQ(POSTREC_CONFIGURATION, static_cast<int>(ErrorKind::kConfiguration));
  EXPECT_EQ(POSTREC_INTERRUPTED, static_cast<int>(ErrorKind::kInterrupted));
}

}  // namespace
