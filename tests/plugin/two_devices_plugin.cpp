#include "plugin_test_types.hpp"
#include "postrec/plugin.hpp"

namespace {

postrec::OperatorType diagonal(const char* name, postrec::DeviceSupport devices) {
  postrec::OperatorType type = postrec::test::diagonal_type();
  type.name = name;
  type.devices = devices;
  return type;
}

}  // namespace

// The first of its operators works where there is a CUDA device only.
POSTREC_PLUGIN("test.postrec.two-devices", "1.0.0", "Apache-2.0",
               {diagonal("test-on-cuda", {.cpu = false, .cuda = true}), diagonal("test-on-cpu", {.cpu = true, .cuda = false})})
