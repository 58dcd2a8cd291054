/* What a C11 compiler makes of the structs, for abi_test.cpp to compare with C++20. */
#include "postrec/abi.h"

const size_t postrec_test_c_layout[] = {
    sizeof(postrec_error),          offsetof(postrec_error, hint_capacity),
    sizeof(postrec_tensor),         offsetof(postrec_tensor, device_index),
    sizeof(postrec_tensor_spec),    offsetof(postrec_tensor_spec, shape),
    sizeof(postrec_parameter_spec), offsetof(postrec_parameter_spec, n_choices),
    sizeof(postrec_parameter),      offsetof(postrec_parameter, tensor),
    sizeof(postrec_call),           offsetof(postrec_call, give_result),
    sizeof(postrec_traits),         offsetof(postrec_traits, reserved),
    sizeof(postrec_operator_type),  offsetof(postrec_operator_type, norm_bound),
    sizeof(postrec_plugin),         offsetof(postrec_plugin, n_operator_types),
};
const size_t postrec_test_c_layout_size = sizeof postrec_test_c_layout / sizeof postrec_test_c_layout[0];
